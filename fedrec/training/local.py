"""What one client computes in one round with torch: its update, the adapter after minus before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedrec.config import TrainingConfig
from fedrec.data.sequences import Floats
from fedrec.errors import UnsafeUpdateError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.heads import example_losses
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.batches import collate
from fedrec.training.dp_sgd import private_steps
from fedrec.training.examples import Example
from fedrec.training.learner import LIST_LENGTH, LocalTask, checked, shared_negatives


@dataclass(frozen=True, slots=True)
class TorchLearner:
    """Trains the torch model; the adapter that it holds is whatever was used last."""

    model: AdaptedModel

    @property
    def layout(self) -> Layout:
        """Of the flat adapter."""
        return self.model.layout

    @property
    def catalogue_size(self) -> int:
        """How many items are scored, N."""
        return self.model.base.catalogue_size

    def set_prior(self, prior: Floats) -> None:
        """Add `prior`, (N,), to every score from now on; raises UnsafeUpdateError if it does not fit."""
        self.model.base.set_prior(prior)

    def update(
        self,
        examples: Sequence[Example],
        task: LocalTask,
        training: TrainingConfig,
        *,
        plan: PrivacyPlan | None = None,
        source: RandomSource | None = None,
    ) -> FlatAdapter:
        """See `local_update`."""
        return local_update(self.model, examples, task, training, plan=plan, source=source)

    @torch.no_grad()
    def quality(self, examples: Sequence[Example], adapter: FlatAdapter) -> tuple[float, float]:
        """Mean next-item loss and hit rate at 10 of an adapter."""
        self.model.load(adapter)
        batch = collate(examples, positions=max(len(example.targets) for example in examples))
        loss = float(example_losses(self.model.base, batch, heads={"next_item": 1.0}).mean())
        logits = self.model.base(*batch.inputs)
        target = logits.gather(-1, batch.targets.unsqueeze(-1))
        hits = ((logits > target).sum(-1) < LIST_LENGTH) & (batch.aims > 0)
        return loss, float(hits.sum() / (batch.aims > 0).sum().clamp(min=1))


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

    negatives = shared_negatives(model.base.catalogue_size, training.negatives, task.negatives_seed)
    fixed = training.positions if model.base.tower.flattens_positions else None

    def losses(batch: Sequence[Example]) -> Tensor:
        longest = max(len(example.targets) for example in batch)
        return example_losses(
            model.base,
            collate(batch, positions=fixed or longest),
            heads=training.heads,
            negatives=None if negatives is None else torch.from_numpy(negatives),
            log_weight=training.log_weight(model.base.catalogue_size),
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
    return checked(model.flatten() - task.adapter, moved=plan is not None)


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
