"""The base model: a frozen score whose every trainable part is a Linear on the user's side.

score = items(item_proj(scale * (tower query))) + prior, where `items` holds the item
index. With a zero adapter this IS zero-shot text retrieval.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fedrec.data.sequences import Floats, History, Ints
from fedrec.errors import UnsafeUpdateError
from fedrec.model.history import history_sums


@dataclass(frozen=True, slots=True)
class UserState:
    """query: (..., d), what retrieval asks for; taste: (..., d), what the heads read."""

    query: Tensor
    taste: Tensor


class Tower(nn.Module, ABC):
    """From a history to a user state.

    flattens_positions: whether the modules inside see example and position as one axis,
    so that per-example gradients must be summed over an example's positions.
    """

    flattens_positions = False

    @abstractmethod
    def inputs(self, history: History, positions: Ints) -> tuple[Tensor, ...]:
        """What forward reads, one row per position: each tensor is (P, ...)."""

    @abstractmethod
    def forward(self, *inputs: Tensor) -> UserState:
        """The user's state at each position."""


class LinearTower(Tower):
    """Decayed sums of the history; `history_proj` is zero until an adapter moves it.

    vectors: (N + T, d) float32. decays, weights: K decays and their weight in the query.
    """

    def __init__(self, vectors: Floats, *, decays: Sequence[float], weights: Sequence[float]) -> None:
        super().__init__()
        width = vectors.shape[1]
        self.vectors = vectors
        self.decays = tuple(decays)
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.history_proj = frozen_linear(torch.zeros(width, width))

    def inputs(self, history: History, positions: Ints) -> tuple[Tensor, ...]:
        sums = history_sums(history, positions, self.vectors, decays=self.decays)
        return (torch.from_numpy(sums),)

    def forward(self, *inputs: Tensor) -> UserState:
        (sums,) = inputs
        taste = sums.sum(-2) / len(self.decays) ** 0.5
        zero_shot = (sums * self.weights[:, None]).sum(-2)
        return UserState(query=zero_shot + self.history_proj(taste), taste=taste)


class Recommender(nn.Module):
    """Scores of the whole catalogue, and what the heads predict of one item.

    vectors: (N, d) float32, the item index. prior: (N,) added to every score.
    """

    def __init__(self, tower: Tower, vectors: Floats, *, scale: float, prior: Floats | None = None) -> None:
        super().__init__()
        items, width = vectors.shape
        self.tower = tower
        self.scale = scale
        self.item_proj = frozen_linear(torch.eye(width))
        self.items = frozen_linear(torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)))
        self.intent_proj = frozen_linear(torch.zeros(width, width))
        self.rating_proj = frozen_linear(torch.zeros(width, width))
        self.prior: Tensor
        self.register_buffer("prior", torch.zeros(items), persistent=False)
        if prior is not None:
            self.set_prior(prior)

    @property
    def catalogue_size(self) -> int:
        """How many items are scored."""
        return int(self.items.weight.shape[0])

    def set_prior(self, prior: Floats) -> None:
        """Add `prior`, (N,), to every score from now on; raises UnsafeUpdateError if it does not fit."""
        given = torch.from_numpy(np.array(prior, dtype=np.float32))
        if given.shape != self.prior.shape or not given.isfinite().all():
            raise UnsafeUpdateError(f"A prior of shape {tuple(given.shape)} does not fit {len(self.prior)} items.")
        self.prior.copy_(given)

    def state(self, *inputs: Tensor) -> UserState:
        """The tower's state, its query projected and scaled, ready for `items`."""
        state = self.tower(*inputs)
        return UserState(query=self.item_proj(self.scale * state.query), taste=state.taste)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(..., N) scores of every item."""
        return self.logits(self.state(*inputs).query)

    def logits(self, query: Tensor) -> Tensor:
        """(..., N) scores for a projected query (..., d)."""
        scores: Tensor = self.items(query) + self.prior
        return scores

    def sampled_logits(self, query: Tensor, rows: Tensor) -> Tensor:
        """(..., S) scores of some items, with `items` frozen; rows: (S,) or (..., S)."""
        chosen: Tensor = self.items.weight[rows]
        shared = chosen.dim() == 2
        scores = query @ chosen.T if shared else (chosen @ query.unsqueeze(-1)).squeeze(-1)
        return scores + self.prior[rows]


def frozen_linear(weight: Tensor) -> nn.Linear:
    """A Linear without bias that holds `weight` (out, in) and is not trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
