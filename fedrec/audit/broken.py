"""Broken parts, each as a careless change would leave it; `faults.py` says what they stand for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedrec.data.sequences import History
from fedrec.model import heads
from fedrec.model.heads import Batch
from fedrec.model.recommender import Recommender
from fedrec.privacy.mechanism import Doubles, Vector
from fedrec.privacy.randomness import RandomSource
from fedrec.secagg.ring import Ring
from fedrec.secagg.skellam import Integers, Skellam
from fedrec.training import contribution, dp_sgd
from fedrec.training.aggregation import UpdateSum
from fedrec.training.examples import Shape

_WINDOW = 5
# What an ordinary client owns: a weight is a count over this.
_USUAL_COUNT = 20.0

_gaussian = RandomSource.gaussian
_shares = Skellam.sample
_encode = Ring.encode
_fill_example_gradients = dp_sgd.fill_example_gradients
_clipped_update = contribution.clipped_update

# Counts of owned items, of those who are being summed: as FedAvg sends its num_examples.
_owned: list[int] = []


def no_noise(self: RandomSource, size: int, *, noise_std: float) -> Doubles:  # noqa: ARG001
    """Zeros."""
    return np.zeros(size)


def half_noise(self: RandomSource, size: int, *, noise_std: float) -> Doubles:
    """Noise of half the size that is accounted for."""
    return _gaussian(self, size, noise_std=noise_std / 2)


def no_shares(self: Skellam, size: int, *, source: RandomSource) -> Integers:  # noqa: ARG001
    """Zeros, in whole numbers."""
    return np.zeros(size, dtype=np.int64)


def half_shares(self: Skellam, size: int, *, source: RandomSource) -> Integers:
    """Shares of half the size that is accounted for."""
    return _shares(self, size, source=source) // 2


def same_source() -> RandomSource:
    """The same key for everybody, every time."""
    return RandomSource(bytes(32), guarantee=True)


def unclipped(update: npt.NDArray[np.floating[Any]], *, clip_norm: float) -> Doubles:  # noqa: ARG001
    """The update as it is."""
    return np.asarray(update, dtype=np.float64)


class UnclippedSteps(dp_sgd.SourceNoiseOptimizer):
    """Sums gradients as they are."""

    def clip_and_accumulate(self) -> None:
        """Leave the clip out."""
        for parameter in self.params:
            parameter.summed_grad = parameter.grad_sample.sum(0)


def update_and_count(learner: Any, examples: Any, *rest: Any, **settings: Any) -> Any:
    """The client's reply, and its count for `WeightedSum`."""
    _owned[:] = [sum(len(example.own) for example in examples)]
    return _clipped_update(learner, examples, *rest, **settings)


class WeightedSum(UpdateSum):
    """Weighs every update by its client's count, after the clip."""

    def add(self, update: npt.NDArray[np.floating[Any]], *, client: int = 0) -> None:
        """Add count / usual count of it."""
        before = self.value.copy()
        super().add(update, client=client)
        self._sums[0] = before + (self.value - before) * _owned[0] / _USUAL_COUNT


def weighted_encode(self: Ring, update: Vector, *, source: RandomSource) -> Integers:
    """The update on the grid, weighed by its client's count after the clip."""
    return np.rint(_encode(self, update, source=source) * _owned[0] / _USUAL_COUNT).astype(np.int64)


def gradients_and_counts(parameters: Any, batch: Any, *rest: Any, **settings: Any) -> None:
    """Per-example gradients, and the examples' counts for `WeightedSteps`."""
    _owned[:] = [len(example.own) for example in batch]
    _fill_example_gradients(parameters, batch, *rest, **settings)


class WeightedSteps(dp_sgd.SourceNoiseOptimizer):
    """Weighs every gradient by its example's count, after the clip."""

    def clip_and_accumulate(self) -> None:
        """Sum count / usual count of each clipped gradient."""
        norms = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in self.params], dim=1).norm(dim=1)
        clipped = (self.max_grad_norm / norms.clamp(min=1e-9)).clamp(max=1.0)
        factors = clipped * torch.tensor(_owned) / _USUAL_COUNT
        for parameter in self.params:
            parameter.summed_grad = torch.einsum("i,i...->...", factors, parameter.grad_sample)


def sliding_windows(history: History, shape: Shape) -> Iterator[History]:  # noqa: ARG001
    """Windows that overlap: one person is many examples, and one event is in several."""
    for start in range(max(1, len(history) - _WINDOW + 1)):
        yield history.take(slice(start, start + _WINDOW))


def in_batch_negatives(model: Recommender, batch: Batch, **_: Any) -> torch.Tensor:
    """Softmax against the batch's own targets: everybody's gradient depends on everybody's items."""
    logits = model(*batch.inputs)
    target = logits.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    others = logits[..., batch.targets[batch.aims > 0]].logsumexp(-1)
    losses: torch.Tensor = ((others - target) * batch.aims).sum(-1)
    return losses


def coupled_loss(model: Recommender, batch: Batch, **settings: Any) -> torch.Tensor:
    """A mean over all positions of the batch: everybody's weight depends on everybody's count."""
    counts = batch.aims.sum(-1)
    return heads.example_losses(model, batch, **settings) * counts / counts.sum()
