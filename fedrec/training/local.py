"""What one client computes in one round: its update, the adapter after minus before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedrec.config import TrainingConfig
from fedrec.errors import UnsafeUpdateError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.heads import example_losses
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.dp_sgd import private_steps
from fedrec.training.examples import Example, collate


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTask:
    """What the server asks of a client in one round; public.

    adapter: (P,) float32. negatives_seed: draws the round's shared negatives, which
    depend on nobody's data.
    """

    adapter: FlatAdapter
    negatives_seed: int


def local_update(
    model: AdaptedModel,
    examples: Sequence[Example],
    task: LocalTask,
    training: TrainingConfig,
    *,
    plan: PrivacyPlan | None = None,
    source: RandomSource | None = None,
) -> FlatAdapter:
    """(P,) float32: what `training.steps` of SGD add to the adapter.

    With a plan the steps are private and nothing else about the data enters the result;
    a client without examples then replies with noise alone. Without one, the mean loss
    over its examples is followed, and a client without examples replies with zeros.
    Raises UnsafeUpdateError if the result is not finite, or a private one did not move.
    """
    model.load(task.adapter)

    fixed = training.positions if model.base.tower.flattens_positions else None

    def losses(batch: Sequence[Example]) -> Tensor:
        longest = max(len(example.targets) for example in batch)
        return example_losses(
            model.base,
            collate(batch, positions=fixed or longest),
            heads=training.heads,
            negatives=_negatives(model.base.catalogue_size, training.negatives, task.negatives_seed),
        )

    if plan is None:
        _plain_steps(model, examples, losses, training)
    else:
        if source is None:
            raise UnsafeUpdateError("A private step needs a source of randomness.")
        private_steps(
            model.peft,
            model.parameters(),
            examples,
            losses,
            plan=plan,
            learning_rate=training.learning_rate,
            source=source,
            positions_per_example=fixed or 1,
        )
    update = model.flatten() - task.adapter
    _check(update, moved=plan is not None)
    return update


def _plain_steps(
    model: AdaptedModel,
    examples: Sequence[Example],
    losses: Callable[[Sequence[Example]], Tensor],
    training: TrainingConfig,
) -> None:
    if not examples:
        return
    parameters = model.parameters()
    for _ in range(training.steps):
        gradients = torch.autograd.grad(losses(examples).mean(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=training.learning_rate)


def _negatives(items: int, count: int, seed: int) -> Tensor | None:
    if not count:
        return None
    return torch.from_numpy(np.random.default_rng(seed).choice(items, size=min(count, items), replace=False))


def _check(update: FlatAdapter, *, moved: bool) -> None:
    if not np.isfinite(update).all():
        raise UnsafeUpdateError("The update is not finite. Lower training.learning_rate; nothing was sent.")
    if moved and not update.any():
        raise UnsafeUpdateError("A private step moved nothing: the adapter is not being trained. Report this recipe.")
