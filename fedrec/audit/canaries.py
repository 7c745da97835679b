"""Canaries: clients (or a hub's people) whose gradient is a random direction of our choosing.

Their examples go through the real training; only the loss is ours, a linear one, so that
a canary's gradient is its own vector wherever the adapter is. Some are as long as the clip
norm, some far longer, which shows a clip that is missing; some own many examples, which
shows a sum that weighs by them. Source: Andrew et al. 2023, arXiv:2302.03098.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedrec.audit.replacing import replaced
from fedrec.audit.world import small_model
from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.model.adapter import AdaptedModel
from fedrec.model.heads import Batch
from fedrec.model.recommender import Recommender
from fedrec.training import local
from fedrec.training.examples import Example

RANK, WIDTH, ITEMS = 64, 128, 160
SIZE = RANK * WIDTH
_FAR_OVER = 10.0
_FEW, _MANY = 4, 76
# A half at the clip norm; a quarter far over it; a quarter at it with many examples.
_KINDS = ("at the clip norm", "at the clip norm", "far over the clip norm", "many examples")


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """directions: (m, SIZE) float32 unit vectors. kinds: (m,) rows of `_KINDS`. included: (m,) fair coins."""

    directions: Floats
    kinds: Ints
    included: Bools

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def groups(self) -> Mapping[str, Bools]:
        """(m,) who is asked about together: everybody, and each kind alone."""
        names = np.array(_KINDS)[self.kinds]
        return {"all": np.ones(len(self), dtype=np.bool_), **{name: names == name for name in dict.fromkeys(_KINDS)}}

    def with_only(self, *rows: int) -> "Canaries":
        """The same canaries, of which only these are there."""
        included = np.zeros(len(self), dtype=np.bool_)
        included[list(rows)] = True
        return replace(self, included=included)

    def example(self, canary: int, *, clip_norm: float) -> Example:
        """The example whose gradient is the canary's vector; nothing to learn where its coin left it out."""
        kind = _KINDS[self.kinds[canary]]
        length = clip_norm * (_FAR_OVER if kind.startswith("far over") else 1.0)
        vector = length * self.included[canary] * self.directions[canary]
        return vector_example(vector, owns=_MANY if kind == "many examples" else _FEW)


@lru_cache(maxsize=1)
def draw_canaries(seed: int, *, count: int) -> Canaries:
    """Canaries whose directions and coins depend on the seed; the noise does not."""
    draw = np.random.default_rng(seed)
    directions = draw.normal(size=(count, SIZE)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Canaries(directions, draw.permutation(np.arange(count) % len(_KINDS)), draw.random(count) < 0.5)


def canary_model() -> AdaptedModel:
    """The model that canaries train: an adapter of SIZE numbers on `history_proj`."""
    return small_model(items=ITEMS, width=WIDTH, rank=RANK)


def vector_example(vector: Floats, *, owns: int = 1) -> Example:
    """An example whose descent direction under `canary_losses` is `vector`, (SIZE,); it owns so many items."""
    # The factor A is the identity's first rows: position k reads column k of the factor B.
    columns = torch.eye(RANK, WIDTH).unsqueeze(1)
    wanted = torch.from_numpy(vector.reshape(WIDTH, RANK).T.copy())
    nothing = np.zeros(RANK, dtype=np.float32)
    return Example(
        inputs=(columns, wanted),
        targets=nothing.astype(np.int64),
        aims=nothing,
        intents=nothing,
        ratings=nothing,
        usual=nothing,
        own=np.arange(owns),
    )


def canary_losses(model: Recommender, batch: Batch, **_: Any) -> Tensor:
    """(B,) losses that are linear in the adapter, in the place of `example_losses`."""
    columns, wanted = batch.inputs
    loss: Tensor = -(model.tower(columns).query * wanted).sum((-1, -2))
    return loss


@contextmanager
def training_canaries() -> Iterator[None]:
    """Local training follows the canaries' losses; everything else of it is as deployed."""
    with replaced(local, "example_losses", canary_losses):
        yield
