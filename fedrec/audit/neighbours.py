"""Neighbouring data: how far can one unit move what is noised, in units of the clip norm?

The real chain from histories to the clipped sum (`examples_of`, the losses, Opacus's clip)
runs twice, with a unit and without it. Noise cannot hide a fault here, as it does from
canaries: windows that overlap, and losses that couple people, move the sum by more than 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from fedrec.audit.world import DAY, history_of, random_history, small_model
from fedrec.config import DataConfig, Scenario, TrainingConfig
from fedrec.data.sequences import History
from fedrec.model.adapter import AdaptedModel
from fedrec.privacy.mechanism import Doubles
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.privacy_config import PrivacyConfig
from fedrec.secagg.planned import plan_of
from fedrec.training.examples import Shape, examples_of
from fedrec.training.learner import LocalTask
from fedrec.training.local import local_update

# float32 sums and roundings; the faults that this looks for are far above it.
TOLERANCE = 1e-3
_ITEMS, _WIDTH, _RANK, _POSITIONS = 40, 12, 6, 60
_SEGMENT_DAYS = 30
_TRAINING = TrainingConfig(learning_rate=1.0, positions=_POSITIONS)
# Far under what gradients measure, about it, and far over it.
_CLIP_NORMS = (0.01, 0.3, 10.0)


class QuietSource(RandomSource):
    """Coins as usual; noise that is a constant: it cancels between neighbours."""

    def __init__(self) -> None:
        super().__init__(bytes(32), guarantee=False)

    def gaussian(self, size: int, *, noise_std: float) -> Doubles:
        """The same small number everywhere, so that no step is refused as unmoved."""
        return np.full(size, noise_std * 1e-3)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two clients' data that differ by one unit."""

    whole: Sequence[History]
    without: Sequence[History]


def user_movement(seed: int) -> float:
    """The most that one person of a hub moved the clipped sum, in clip norms; at most 1 when sound."""
    return _most(_people(np.random.default_rng(seed)), unit="USER")


def segment_movement(seed: int) -> float:
    """The most that one fixed interval of one person moved the clipped sum, in clip norms."""
    return _most(_intervals(np.random.default_rng(seed)), unit="SEGMENT")


def _most(pairs: Iterator[Neighbours], *, unit: str) -> float:
    model = small_model(items=_ITEMS, width=_WIDTH, rank=_RANK)
    model_at = np.random.default_rng(1).normal(size=model.layout.size).astype(np.float32)
    cases = list(pairs)
    return max(
        _movement(model, pair, _plan(unit, clip_norm), adapter=scale * model_at)
        for pair in cases
        for clip_norm in _CLIP_NORMS
        for scale in (np.float32(0.0), np.float32(0.3))
    )


def _movement(model: AdaptedModel, pair: Neighbours, plan: PrivacyPlan, *, adapter: npt.NDArray[np.float32]) -> float:
    days = _SEGMENT_DAYS
    shape = Shape(positions=_POSITIONS, window=_POSITIONS, unit=plan.unit, segment_days=days)
    sums = []
    for histories in (pair.whole, pair.without):
        examples = examples_of(histories, model.base.tower, shape, items=_ITEMS)
        task = LocalTask(adapter=adapter, negatives_seed=0)
        update = local_update(model, examples, task, _TRAINING, plan=plan, source=QuietSource())
        sums.append(update.astype(np.float64))
    return float(np.linalg.norm(sums[0] - sums[1])) / plan.clip_norm


def _plan(unit: str, clip_norm: float) -> PrivacyPlan:
    """One full-batch step whose update is the noised sum itself."""
    scenario = Scenario(
        name="audit",
        data=DataConfig(users_per_client=20 if unit == "USER" else 1),
        training=_TRAINING,
        privacy=PrivacyConfig(
            mode="local", unit="USER" if unit == "USER" else "SEGMENT", noise_multiplier=1.0, segment_days=_SEGMENT_DAYS
        ),
    )
    plan = plan_of(scenario)
    if plan is None:  # pragma: no cover - a private scenario always has a plan
        raise RuntimeError("unreachable")
    return replace(plan, clip_norm=clip_norm)


def _people(draw: Generator) -> Iterator[Neighbours]:
    """Hubs that lose one person: an unlike one among people who are alike, and any one of a random hub."""
    alike = [history_of([1, 2])] * 15
    for odd in (history_of(draw.permutation(_ITEMS).tolist()), history_of([1, 3])):
        yield Neighbours([odd, *alike], alike)
    hub = [random_history(draw, events=int(draw.integers(3, 14)), items=_ITEMS) for _ in range(5)]
    for person in range(2):
        yield Neighbours(hub, [each for number, each in enumerate(hub) if number != person])


def _intervals(draw: Generator) -> Iterator[Neighbours]:
    """A person who loses all events of one interval."""
    history = random_history(draw, events=24, items=_ITEMS)
    interval = history.times // (_SEGMENT_DAYS * DAY)
    for value in np.unique(interval)[:3]:
        yield Neighbours([history], [history.take(interval != value)])
