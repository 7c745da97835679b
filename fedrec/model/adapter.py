"""The shared adapter: peft LoRA on the base model, as one flat vector with a layout hash.

A (the down-projection) is frozen and orthonormal, so only B is trained: averaging B over
clients is then exact, with noise or without.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from fedrec.config import AdapterConfig
from fedrec.errors import ConfigError
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.model.recommender import Recommender

# Coordinates of the item index are principal directions, so the first rows of the
# identity are the directions that matter most: orthonormal, exact, the same everywhere.
_PRINCIPAL = ("history_proj", "item_proj", "items", "intent_proj", "rating_proj")


class AdaptedModel:
    """A base model with its adapter: what trains, what is sent, what is released.

    base_hash: identifies the frozen part (item index, encoder, model settings).
    Raises ConfigError if a rank names a module that the model lacks or is over its width.
    """

    def __init__(self, model: Recommender, config: AdapterConfig, *, base_hash: str) -> None:
        _check_ranks(model, config)
        self.base = model
        first, *_ = config.ranks.values()
        lora = LoraConfig(
            r=first,
            lora_alpha=first,
            target_modules=sorted(config.ranks),
            rank_pattern=dict(config.ranks),
            alpha_pattern=dict(config.ranks),
            lora_dropout=0.0,
            bias="none",
        )
        self.peft: PeftModel = get_peft_model(model, lora)
        _freeze_basis(self.peft, config)
        self.peft.train()
        self._parameters = [(name, p) for name, p in self.peft.named_parameters() if p.requires_grad]
        self.layout = _layout(self._parameters, config, base_hash)

    def parameters(self) -> list[nn.Parameter]:
        """The trainable tensors, in the order of the flat vector."""
        return [parameter for _, parameter in self._parameters]

    def flatten(self) -> FlatAdapter:
        """(P,) float32 copy of the trainable tensors."""
        return torch.cat([p.detach().reshape(-1) for p in self.parameters()]).numpy().copy()

    def load(self, flat: npt.ArrayLike) -> None:
        """Set the trainable tensors; raises UnsafeUpdateError on a wrong size or a non-finite entry."""
        values = self.layout.fitting(flat)
        with torch.no_grad():
            pieces = torch.split(torch.from_numpy(values.copy()), [p.numel() for p in self.parameters()])
            for parameter, piece in zip(self.parameters(), pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's own format."""
        self.peft.save_pretrained(str(folder), save_embedding_layers=False)
        # peft links its own template card, which says nothing about this model.
        (folder / "README.md").unlink(missing_ok=True)


def load_released(model: Recommender, folder: Path) -> PeftModel:
    """A released adapter on its base model, by peft's own loader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(model, str(folder))


def _check_ranks(model: nn.Module, config: AdapterConfig) -> None:
    linears: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            leaf = name.rpartition(".")[2]
            linears[leaf] = min(linears.get(leaf, 1 << 30), *module.weight.shape)
    for name, rank in config.ranks.items():
        if name not in linears:
            raise ConfigError(f"adapter.ranks names `{name}`; this tower has {', '.join(sorted(linears))}.")
        if rank > linears[name]:
            raise ConfigError(
                f"adapter.ranks.{name} is {rank}, over the width {linears[name]} of that module. Lower it."
            )


def _freeze_basis(model: nn.Module, config: AdapterConfig) -> None:
    generator = torch.Generator().manual_seed(config.seed)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            principal = any(f".{module}.lora_A" in name for module in _PRINCIPAL)
            basis = torch.eye(*parameter.shape) if principal else _orthonormal(parameter.shape, generator)
            parameter.data.copy_(basis)
            parameter.requires_grad_(config.train_a)
        elif "lora_B" in name:
            parameter.data.zero_()


def _orthonormal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    wide = torch.randn(shape[1], shape[0], generator=generator, dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(wide).Q.T.to(torch.float32)
    return basis


def _layout(parameters: Sequence[tuple[str, nn.Parameter]], config: AdapterConfig, base_hash: str) -> Layout:
    names = tuple(name for name, _ in parameters)
    shapes = tuple(tuple(parameter.shape) for _, parameter in parameters)
    recipe: dict[str, Any] = {
        "names": names,
        "shapes": shapes,
        "basis": "trained" if config.train_a else f"principal or orthonormal, seed {config.seed}",
        "base": base_hash,
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return Layout(names, shapes, digest)
