"""The local steps of many clients at once, plain or private."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedrec.config import TrainingConfig
from fedrec.errors import UnsafeUpdateError
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.cohort_model import Adapter, CohortModel
from fedrec.training.factors import Side
from fedrec.training.padding import Padded
from fedrec.training.scoring import First, Others

# What Opacus adds to a norm before it divides by it.
_CLIP_MARGIN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Local training from one adapter that all start from, (P,) flat and as tensors.

    others: what a round's losses set against targets. Updates are (C, P) in the model's precision, one row for each
    client of a batch.
    """

    model: CohortModel
    training: TrainingConfig
    others: Others
    flat: Tensor
    shared: Adapter

    @classmethod
    def of(cls, model: CohortModel, training: TrainingConfig, others: Others, adapter: FlatAdapter) -> "Steps":
        """adapter: (P,) that the round starts from."""
        flat = torch.from_numpy(model.layout.fitting(adapter)).to(model.items)
        return cls(model=model, training=training, others=others, flat=flat, shared=_tensors(model.layout, flat))

    def plain(self, batch: Padded) -> Tensor:
        """Steps along the mean loss of each client's units; zeros for a client without any."""
        shares = -self.training.learning_rate * batch.owners.share
        update, first = None, First() if self.training.steps > 1 else None
        for _ in range(self.training.steps):
            sides = self._sides(batch, update, first)
            summed = self._summed(sides, shares, batch)
            update = summed if update is None else update.add_(summed)
        return self._zeros(batch) if update is None else update

    def private(self, batch: Padded, plan: PrivacyPlan, sources: Sequence[RandomSource]) -> Tensor:
        """DP-SGD as Opacus does it: secret coins for the units of each step, each clipped, their sum noised.

        sources: of each client. Source: Abadi et al. 2016, arXiv:1607.00133.
        """
        if plan.local is None:
            raise UnsafeUpdateError(f"A plan of mode {plan.mode} has no private steps. Train plainly and clip.")
        update, first = self._zeros(batch), First() if plan.local.steps > 1 else None
        counts = batch.owners.counts.tolist()
        rate = self.training.learning_rate / plan.local.expected_batch
        noise_std = plan.noise_multiplier * plan.clip_norm
        for step in range(plan.local.steps):
            coins = [
                source.coins(count, probability=plan.local.sampling_rate)
                for source, count in zip(sources, counts, strict=True)
            ]
            heads = torch.from_numpy(np.concatenate(coins)).to(update)
            sides = self._sides(batch, update if step else None, first)
            norms, sound = self._norms(sides)
            weights = heads * (plan.clip_norm / (norms + _CLIP_MARGIN)).clamp(max=1.0)
            noise = np.stack([self._noise(source, noise_std) for source in sources])
            update -= rate * (
                self._summed(_silenced(sides, sound), weights, batch) + torch.from_numpy(noise).to(update)
            )
        return update

    def _noise(self, source: RandomSource, noise_std: float) -> np.ndarray:
        shapes = self.model.layout.shapes
        return np.concatenate([source.gaussian(math.prod(shape), noise_std=noise_std) for shape in shapes])

    def _zeros(self, batch: Padded) -> Tensor:
        return self.model.items.new_zeros((len(batch.owners.counts), self.model.layout.size))

    def _sides(self, batch: Padded, update: Tensor | None, first: First | None) -> dict[str, Side]:
        """The gradients of all units at the shared adapter, or at each client's own."""
        adapter = (
            self.shared if update is None else _tensors(self.model.layout, (self.flat + update)[batch.owners.place])
        )
        return self.model.gradients(batch, adapter, heads=self.training.heads, others=self.others, first=first)

    def _summed(self, sides: Mapping[str, Side], weights: Tensor, batch: Padded) -> Tensor:
        """(C, P) each client's weighted sum of its units' gradients."""
        parts = [side.products(side.right * weights[:, None, None]).flatten(1) for side in sides.values()]
        return batch.owners.per_client(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    def _norms(self, sides: Mapping[str, Side]) -> tuple[Tensor, Tensor]:
        """(E,) the norm of each unit's whole gradient, and whether it is finite."""
        squares = torch.stack([side.square_norms() for side in sides.values()]).sum(0)
        sound = squares.isfinite()
        return squares.where(sound, 0.0).clamp(min=0).sqrt(), sound


def _tensors(layout: Layout, flat: Tensor) -> Adapter:
    """(..., P) by name and in shape."""
    pieces = torch.split(flat, [math.prod(shape) for shape in layout.shapes], dim=-1)
    return {
        name: piece.reshape(*piece.shape[:-1], *shape)
        for name, shape, piece in zip(layout.names, layout.shapes, pieces, strict=True)
    }


def _silenced(sides: Mapping[str, Side], sound: Tensor) -> dict[str, Side]:
    """The gradients, with zeros for a unit whose own is not finite."""
    return dict(sides) if bool(sound.all()) else {name: side.silenced(~sound) for name, side in sides.items()}
