"""What a client trains with: the torch model on a hub or in a simulation, numpy alone on a device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedrec.config import TrainingConfig
from fedrec.data.sequences import Floats, Ints
from fedrec.errors import UnsafeUpdateError
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.examples import Example

# A hit is a target among so many items.
LIST_LENGTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTask:
    """What the server asks of a client in one round; public.

    adapter: (P,) float32. negatives_seed: draws the round's shared negatives, which
    depend on nobody's data.
    """

    adapter: FlatAdapter
    negatives_seed: int


class Learner(Protocol):
    """A base model whose adapter can be trained; both kinds give the same update to 1e-5."""

    @property
    def layout(self) -> Layout:
        """Of the flat adapter."""
        ...

    @property
    def catalogue_size(self) -> int:
        """How many items are scored, N."""
        ...

    def set_prior(self, prior: Floats) -> None:
        """Add `prior`, (N,), to every score from now on; raises UnsafeUpdateError if it does not fit."""
        ...

    def update(
        self,
        examples: Sequence[Example],
        task: LocalTask,
        training: TrainingConfig,
        *,
        plan: PrivacyPlan | None = None,
        source: RandomSource | None = None,
    ) -> FlatAdapter:
        """(P,) float32: what `training.steps` of SGD add to the adapter, noised at every step under a plan."""
        ...

    def quality(self, examples: Sequence[Example], adapter: FlatAdapter) -> tuple[float, float]:
        """Mean next-item loss and hit rate at 10 of an adapter on what the client trains on."""
        ...


def shared_negatives(items: int, count: int, seed: int) -> Ints | None:
    """(S,) rows of the catalogue that a round's losses share; None for the full softmax."""
    if not count:
        return None
    drawn: Ints = np.random.default_rng(seed).choice(items, size=min(count, items), replace=False)
    return drawn


def checked(update: FlatAdapter, *, moved: bool) -> FlatAdapter:
    """The update; raises UnsafeUpdateError if it is not finite, or `moved` nothing though it was noised."""
    if not np.isfinite(update).all():
        raise UnsafeUpdateError("The update is not finite. Lower training.learning_rate; nothing was sent.")
    if moved and not update.any():
        raise UnsafeUpdateError("A private step moved nothing: the adapter is not being trained. Report this recipe.")
    return update
