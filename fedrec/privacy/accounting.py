"""From what was drawn to what it is worth: epsilon at a delta, by privacy loss distributions.

dp-accounting's PLD is the figure that is reported; Opacus's PRV accountant must agree,
or nothing is reported. Neither assumes anything about which clients the server draws.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from importlib.metadata import version
from typing import Any

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution

from fedrec.errors import VerificationError
from fedrec.privacy.plan import GaussianSpend

ACCOUNTANT = f"PLD (dp-accounting {version('dp-accounting')}), cross-checked with PRV (Opacus {version('opacus')})"

Spending = tuple[tuple[GaussianSpend, int], ...]


@dataclass(frozen=True, slots=True)
class Epsilon:
    """An epsilon at a delta, and the one for replacing a unit instead of zeroing it out."""

    value: float
    delta: float
    replace_one: float


def composed(spends: Iterable[GaussianSpend]) -> Spending:
    """Group equal participations; the order of composition does not matter."""
    counts: dict[GaussianSpend, int] = {}
    for spend in spends:
        counts[spend] = counts.get(spend, 0) + 1
    return tuple(sorted(counts.items(), key=repr))


def spending_by_client(events: Iterable[dict[str, Any]]) -> dict[int, Spending]:
    """Each client's composed spending, from the events of a server's ledger."""
    spends: dict[int, list[GaussianSpend]] = {}
    for event in events:
        spend = GaussianSpend.from_event(event)
        for client in event["participants"]:
            spends.setdefault(client, []).append(spend)
    return {client: composed(entries) for client, entries in spends.items()}


def worst_epsilon(spendings: Iterable[Spending], *, delta: float) -> float:
    """The largest epsilon over clients; 0 where nothing was spent."""
    return max((epsilon_of(spending, delta=delta) for spending in set(spendings)), default=0.0)


@lru_cache(maxsize=4096)
def epsilon_of(spending: Spending, *, delta: float, replace_one: bool = False) -> float:
    """Epsilon of a composition at `delta` by PLD, for one unit added or removed, or replaced.

    Source: Koskela et al. 2020, arXiv:1906.03049; implementation dp-accounting.
    """
    if not spending:
        return 0.0
    steps = sum(spend.steps * count for spend, count in spending)
    interval = 1e-3 if steps >= 1000 else 1e-4
    parts = [_loss(spend, spend.steps * count, interval, replace_one) for spend, count in spending]
    return float(reduce(lambda total, part: total.compose(part), parts).get_epsilon_for_delta(delta))


def _loss(spend: GaussianSpend, steps: int, interval: float, replace_one: bool) -> Any:
    """The privacy loss distribution of so many steps."""
    if spend.sampling_rate < 1:
        return _step_loss(spend.noise_multiplier, spend.sampling_rate, interval, replace_one).self_compose(steps)
    # Full-batch Gaussians compose to one Gaussian exactly.
    return _step_loss(spend.noise_multiplier / math.sqrt(steps), 1.0, interval, replace_one)


@lru_cache(maxsize=64)
def _step_loss(noise_multiplier: float, sampling_rate: float, interval: float, replace_one: bool) -> Any:
    relation = dp_accounting.NeighboringRelation
    return privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=sampling_rate,
        neighboring_relation=relation.REPLACE_ONE if replace_one else relation.ADD_OR_REMOVE_ONE,
    )


def checked_epsilon(spending: Spending, *, delta: float) -> Epsilon:
    """The reported figure, after the second library has agreed.

    Raises VerificationError if PLD and PRV differ by more than max(.02, 1%).
    """
    value = epsilon_of(spending, delta=delta)
    other = _prv_epsilon(spending, delta=delta)
    # Asked this way round, so that a figure that is no number is a disagreement.
    if not (math.isfinite(value) and abs(value - other) <= max(0.02, 0.01 * value)):
        raise VerificationError(
            f"Two accountants disagree: PLD gives epsilon {value:.4f}, PRV {other:.4f} at delta {delta:g}. "
            "No epsilon is reported; report this recipe as a fault."
        )
    return Epsilon(value, delta, epsilon_of(spending, delta=delta, replace_one=True))


def _prv_epsilon(spending: Spending, *, delta: float) -> float:
    if not spending:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        accountant = PRVAccountant()
        accountant.history = [
            (spend.noise_multiplier, spend.sampling_rate, spend.steps * count) for spend, count in spending
        ]
        return float(accountant.get_epsilon(delta, eps_error=0.01))
