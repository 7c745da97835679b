"""The text encoder for devices: from tokens to unit vector as one int8 ONNX model, checked against the original.

What a device runs must be what made the item index: the same tokens, the same pooling,
and vectors that agree. An export that does not is refused.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from fedrec.errors import ConfigError, FedrecError, VerificationError
from fedrec.model.item_index import quantise
from fedrec.model.onnx_encoder import FACTS_FILE, MODEL_FILE, TOKENIZER_FILE, OnnxEncoder
from fedrec.model.onnx_quantise import quantise_products
from fedrec.model.text_encoder import TextEncoder
from fedrec.release import hash_file

# Of the ten items nearest to a tag of MovieLens, a mean cosine of .9994 (all-MiniLM-L6-v2, as
# exported here) keeps 97%, one of .989 keeps 89%, and one of .957 keeps 79%.
LEAST_MEAN, LEAST = 0.995, 0.98
_CHECKED = 300
_LONGEST = 8192
# Short, long, in other scripts, not words at all: where an export goes wrong first.
_ODD = (
    "",
    "x",
    "  two   spaces, and a tab\t",
    "été, ñandú, Straße",
    "日本語の映画とアニメ",
    "Привет, мир",
    "🙂 1984 — №5 (½) #tag @name https://example.org/a?b=c",
    "How do I fix a leaking tap?",
    "a history of steam locomotives with many photographs " * 60,
)


def export_encoder(encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> None:
    """Write an encoder's int8 form, its tokenizer and what was measured of them into an existing folder.

    texts: public ones, on which it is held against the original.
    Raises ConfigError for an encoder that has no such form, VerificationError for a form that disagrees.
    """
    try:
        _export(encoder, folder, texts)
    except FedrecError:
        raise
    except Exception as error:  # An exporter, or a model that is exported, raises whatever it trips over.
        raise _unsupported(encoder, f"its export fails with {type(error).__name__}") from None


def _export(encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> None:
    unit = _unit_encoder(encoder)
    limit = encoder.model.max_seq_length
    if not limit or limit > _LONGEST:
        raise _unsupported(encoder, "it has no limit on the length of a text")
    (folder / TOKENIZER_FILE).write_text(_tokenizer(encoder, limit), encoding="utf-8")
    _write_model(unit, folder / MODEL_FILE)
    facts: dict[str, Any] = {
        "encoder": encoder.hash,
        "name": encoder.name,
        "width": int(encoder.model.get_embedding_dimension()),
        "max_length": limit,
        "padding": int(encoder.model.tokenizer.pad_token_id),
        "pooling": unit.pooling,
    }
    _write_facts(folder, facts)
    facts["agreement"] = _agreement(encoder, folder, texts)
    facts["files"] = {name: hash_file(folder / name) for name in (MODEL_FILE, TOKENIZER_FILE)}
    _write_facts(folder, facts)


class _UnitEncoder(nn.Module):
    """Tokens to unit vectors: the transformer, its pooling, and a norm of 1."""

    def __init__(self, transformer: nn.Module, pooling: str) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            read = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * read).sum(1) / read.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(pooled, dim=1)


class _Int8Rows(nn.Module):
    """An embedding table with one scale per row: a quarter of its size, and nearly all of its precision."""

    codes: Tensor
    scales: Tensor

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        codes, scales = quantise(table.weight.detach().numpy())
        self.register_buffer("codes", torch.from_numpy(codes))
        self.register_buffer("scales", torch.from_numpy(scales))

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.codes[rows].float() * self.scales[rows].unsqueeze(-1)
        return found


def _unit_encoder(encoder: TextEncoder) -> _UnitEncoder:
    """The torch module to export, from a copy of the encoder's own.

    Raises ConfigError for anything that it does beyond a transformer, pooling and a norm.
    """
    first, *rest = encoder.model
    kinds = [type(module).__name__ for module in (first, *rest)]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _unsupported(encoder, f"it is built of {', '.join(kinds)}")
    pooling = rest[0].pooling_mode
    if pooling not in ("mean", "cls"):
        raise _unsupported(encoder, f"it pools by {pooling}")
    if encoder.model.default_prompt_name or encoder.model.truncate_dim or first.do_lower_case:
        raise _unsupported(encoder, "it adds a prompt, cuts its vectors or changes the case of its texts")
    transformer = copy.deepcopy(first.auto_model).eval()
    for name, module in list(transformer.named_modules()):
        if isinstance(module, nn.Embedding) and "position" not in name:
            parent, _, leaf = name.rpartition(".")
            setattr(transformer.get_submodule(parent), leaf, _Int8Rows(module))
    return _UnitEncoder(transformer, pooling).eval()


def _tokenizer(encoder: TextEncoder, limit: int) -> str:
    """The tokenizer as its own file, with the truncation of training."""
    from tokenizers import Tokenizer

    trained = encoder.model.tokenizer
    fast = getattr(trained, "backend_tokenizer", None)
    if fast is None or trained.pad_token is None or trained.padding_side != "right":
        raise _unsupported(encoder, "its tokenizer has no form without Python, or pads on the left")
    tokenizer = Tokenizer.from_str(fast.to_str())
    tokenizer.enable_truncation(limit, direction=trained.truncation_side)
    tokenizer.no_padding()
    return str(tokenizer.to_str())


def _write_model(unit: _UnitEncoder, path: Path) -> None:
    # Two rows of different length: a graph that was traced without padding would ignore the mask.
    tokens = torch.ones((2, 7), dtype=torch.long)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quiet():
        program: Any = torch.onnx.export(
            unit,
            (tokens, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["embeddings"],
            dynamic_shapes=(free, free),
            dynamo=True,
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    quantise_products(model)
    onnx.save(model, str(path))


def _agreement(encoder: TextEncoder, folder: Path, texts: Sequence[str]) -> dict[str, float | int]:
    """How far the export agrees with the original; raises VerificationError if that is too little."""
    different = sorted(set(texts))
    sample = [*different[:: max(1, len(different) // _CHECKED)][:_CHECKED], *_ODD]
    exported = OnnxEncoder.open(folder)
    _require_same_tokens(encoder, exported, sample)
    cosines = np.sum(exported.encode(sample) * encoder.encode(sample, cache=False), axis=1)
    found: dict[str, float | int] = {
        "texts": len(sample),
        "mean_cosine": round(float(cosines.mean()), 5),
        "min_cosine": round(float(cosines.min()), 5),
    }
    if not (cosines.mean() >= LEAST_MEAN and cosines.min() >= LEAST):
        raise VerificationError(
            f"The int8 form of {encoder.name} agrees with it to {cosines.mean():.4f} (least {LEAST_MEAN}) on average "
            f"and {cosines.min():.4f} (least {LEAST}) at the worst. Use an encoder that bears eight bits."
        )
    return found


def _require_same_tokens(encoder: TextEncoder, exported: OnnxEncoder, texts: Sequence[str]) -> None:
    ids, masks = exported.tokens(texts)
    trained = encoder.model.preprocess(list(texts))
    same = np.array_equal(ids, trained["input_ids"].numpy()) and np.array_equal(
        masks, trained["attention_mask"].numpy()
    )
    if not same:
        raise _unsupported(encoder, "its tokenizer cuts texts in another way than its file says")


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _unsupported(encoder: TextEncoder, reason: str) -> ConfigError:
    return ConfigError(f"{encoder.name} has no form for devices: {reason}. Use a BERT-like encoder with mean pooling.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep an exporter's prints, warnings and log lines from the person who only wanted a release."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
