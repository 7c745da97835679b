"""The linear recommender in numpy alone: what a device scores, explains and trains with.

The same function as `Recommender` with a `LinearTower` and its adapter, without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fedrec.config import ModelConfig
from fedrec.config_file import parse_table
from fedrec.data.sequences import Floats, Ints
from fedrec.errors import DataError, VerificationError
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.release import Manifest

ADAPTER_FILE = "adapter/adapter_model.safetensors"
PRIOR_FILE = "prior.safetensors"
_A, _B = "lora_A", "lora_B"


class Index(Protocol):
    """Item vectors that are read in rows, so that they need not be in memory at once."""

    def __len__(self) -> int: ...

    @property
    def width(self) -> int:
        """How many coordinates a vector has, d."""
        ...

    def vectors(self, rows: Ints | slice) -> Floats:
        """(R, d) float32."""
        ...

    def scores(self, query: Floats) -> Floats:
        """(N,) float32: the product of every item's vector with `query` (d,)."""
        ...


@dataclass(frozen=True, slots=True)
class Factor:
    """One LoRA pair: adds `b @ a` to a module's weight. a: (r, in), b: (out, r)."""

    a: Floats
    b: Floats

    def fits(self, width: int, out: int) -> bool:
        """Whether it maps `width` coordinates to `out`."""
        return self.a.shape[1:] == (width,) and self.b.shape == (out, len(self.a))

    def apply(self, inputs: Floats) -> Floats:
        """(..., out) of (..., in)."""
        return np.asarray((inputs @ self.a.T) @ self.b.T, dtype=np.float32)

    def pull_back(self, outputs: Floats) -> Floats:
        """(..., in): the transposed map of (..., out)."""
        return np.asarray((outputs @ self.b) @ self.a, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """A released recommender.

    prior: (N,) weighted, added to every score. factors: by module; `b` of `items` has a row
    per item. layout: of the flat adapter that the release holds.
    """

    config: ModelConfig
    index: Index
    prior: Floats
    factors: Mapping[str, Factor]
    layout: Layout

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, index: Index) -> "LinearModel":
        """Read a verified release.

        Raises DataError for one that has no linear tower, VerificationError if it does not fit its index.
        """
        config = parse_table(ModelConfig, manifest.lineage["model"])
        if config.tower != "linear":
            raise DataError("This release needs the text tower, which does not run on a device. Use a linear one.")
        try:
            tensors = load_file(folder / ADAPTER_FILE)
            prior = load_file(folder / PRIOR_FILE)["prior"] if (folder / PRIOR_FILE).exists() else None
        except (OSError, SafetensorError, KeyError) as error:
            raise VerificationError(
                f"{folder}: its adapter or prior cannot be read ({error}). Fetch it again."
            ) from None
        model = cls(
            config=config,
            index=index,
            prior=np.zeros(len(index), np.float32) if prior is None else prior.astype(np.float32),
            factors=_factors(tensors),
            layout=released_layout(manifest),
        )
        model.require_fitting()
        return model

    def require_fitting(self) -> None:
        """Raise VerificationError unless prior and factors have the shapes that the index asks for."""
        items, width = len(self.index), self.index.width
        fits = self.prior.shape == (items,) and all(
            factor.fits(width, items if name == "items" else width) for name, factor in self.factors.items()
        )
        values = [self.prior, *(each for factor in self.factors.values() for each in (factor.a, factor.b))]
        if not fits or not all(np.isfinite(each).all() for each in values):
            raise VerificationError("The release's adapter does not fit its item index. Fetch the release again.")

    def extended(self, index: Index) -> "LinearModel":
        """The model over an index with items behind the old ones; nothing was learned of those yet."""
        more = len(index) - len(self.prior)
        factors = dict(self.factors)
        if "items" in factors:
            rows = np.zeros((more, factors["items"].b.shape[1]), np.float32)
            factors["items"] = replace(factors["items"], b=np.concatenate([factors["items"].b, rows]))
        prior = np.concatenate([self.prior, np.zeros(more, np.float32)])
        return replace(self, index=index, prior=prior, factors=factors)

    def with_adapter(self, flat: FlatAdapter) -> "LinearModel":
        """The model with another adapter of the same layout; raises UnsafeUpdateError if it does not fit."""
        factors = {
            name: dict(zip(("a", "b"), (factor.a, factor.b), strict=True)) for name, factor in self.factors.items()
        }
        for name, tensor in self.layout.tensors(self.layout.fitting(flat)).items():
            factors[module_of(name)]["b" if _B in name else "a"] = tensor
        return replace(self, factors={name: Factor(**pair) for name, pair in factors.items()})

    def taste(self, sums: Floats) -> Floats:
        """(..., d) what the heads read of (..., K, d) decayed sums."""
        taste: Floats = sums.sum(-2) / np.float32(len(self.config.decays) ** 0.5)
        return taste

    def unprojected(self, sums: Floats) -> Floats:
        """(..., d) the scaled query before `item_proj`."""
        weights = np.asarray(self.config.decay_weights, np.float32)
        query = (sums * weights[:, None]).sum(-2)
        if "history_proj" in self.factors:
            query = query + self.factors["history_proj"].apply(self.taste(sums))
        scaled: Floats = (np.float32(self.config.scale) * query).astype(np.float32)
        return scaled

    def query(self, sums: Floats) -> Floats:
        """(..., d) what is multiplied with the item vectors."""
        query = self.unprojected(sums)
        return query + self.factors["item_proj"].apply(query) if "item_proj" in self.factors else query

    def scores(self, query: Floats) -> Floats:
        """(N,) of every item, for one query (d,)."""
        scores = self.index.scores(query) + self.prior
        if "items" in self.factors:
            scores = scores + self.factors["items"].apply(query)
        return scores.astype(np.float32, copy=False)

    def pull(self, rows: Ints) -> Floats:
        """(R, K, d): how much each entry of the sums adds to the scores of some items.

        The score of row r is the sum of `pull[r] * sums`, plus its prior.
        """
        wanted = self.index.vectors(rows)
        if "items" in self.factors:
            items = self.factors["items"]
            wanted = wanted + items.b[rows] @ items.a
        if "item_proj" in self.factors:
            wanted = wanted + self.factors["item_proj"].pull_back(wanted)
        wanted = np.float32(self.config.scale) * wanted
        decays = len(self.config.decays)
        pull = np.asarray(self.config.decay_weights, np.float32)[None, :, None] * wanted[:, None, :]
        if "history_proj" in self.factors:
            pull = pull + (self.factors["history_proj"].pull_back(wanted) / np.float32(decays**0.5))[:, None, :]
        return pull.astype(np.float32, copy=False)


def released_layout(manifest: Manifest) -> Layout:
    """The layout of a release's flat adapter, as its run wrote it; raises DataError if it did not."""
    given = manifest.lineage
    try:
        tensors = [(str(name), tuple(int(size) for size in shape)) for name, shape in given["tensors"]]
        if not isinstance(given["layout"], str):
            raise TypeError("its hash is no text")
        layout = Layout(tuple(name for name, _ in tensors), tuple(shape for _, shape in tensors), given["layout"])
    except (KeyError, TypeError, ValueError):
        raise DataError("This release does not say how its adapter is laid out: it is too old for a device.") from None
    return layout


def module_of(name: str) -> str:
    """The module that a LoRA tensor adapts.

    >>> module_of("base_model.model.tower.history_proj.lora_B.default.weight")
    'history_proj'
    """
    parts = name.split(".")
    return parts[next(place for place, part in enumerate(parts) if part in (_A, _B)) - 1]


def _factors(tensors: Mapping[str, Any]) -> dict[str, Factor]:
    pairs: dict[str, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        if f".{_A}." not in name and f".{_B}." not in name:
            raise VerificationError("The release's adapter is not plain LoRA. Fetch the release again.")
        pairs.setdefault(module_of(name), {})["b" if f".{_B}." in name else "a"] = tensor.astype(np.float32)
    if any(len(pair) != 2 for pair in pairs.values()):
        raise VerificationError("The release's adapter holds one half of a LoRA pair. Fetch the release again.")
    return {name: Factor(**pair) for name, pair in pairs.items()}
