"""From what was drawn to what it is worth: epsilon at a delta, and a second library's opinion of it.

Where no step is sub-sampled the closed form is exact, and PLD must agree with it to four
decimals; elsewhere PLD is the figure that is reported. PRV must agree with either, or nothing
is reported. None of them assumes anything about which clients the server draws.

Skellam noise has Renyi bounds only: whatever holds a Skellam release is told by RDP, labelled so,
and held against the Gaussian of the same noise multiplier.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal

from fedrec.errors import VerificationError
from fedrec.privacy.accountants import (
    MOST_EPSILON,
    MOST_SAMPLED_STEPS,
    pld_epsilon,
    prv_epsilon,
    rdp_epsilon,
    rdp_epsilon_of_gaussians,
    sampled_steps,
)
from fedrec.privacy.gaussian import epsilon_without_amplification, exact_epsilon
from fedrec.privacy.renyi import renyi_epsilon
from fedrec.privacy.spends import Spend, Spending, skellams
from fedrec.privacy.tally import Tally

__all__ = [
    "ACCOUNTANT",
    "ACCOUNTANTS",
    "MOST_EPSILON",
    "MOST_SAMPLED_STEPS",
    "Epsilon",
    "Spending",
    "checked_epsilon",
    "composed",
    "epsilon_curve",
    "epsilon_of",
    "rdp_epsilon",
    "spending_by_client",
    "worst_epsilon",
]

Method = Literal["closed form", "PLD", "RDP", "Skellam"]

_LIBRARY = f"dp-accounting {version('dp-accounting')}"
_CHECKED = f"cross-checked with PRV (Opacus {version('opacus')})"
ACCOUNTANT = f"PLD ({_LIBRARY}; in closed form where no step is sub-sampled), {_CHECKED}"
ACCOUNTANTS: dict[Method, str] = {
    "closed form": f"PLD of a Gaussian in closed form (Balle and Wang 2018), equal to {_LIBRARY}'s, {_CHECKED}",
    "PLD": f"PLD ({_LIBRARY}), {_CHECKED}",
    "RDP": f"RDP ({_LIBRARY}), an upper bound because PLD fails numerically here, {_CHECKED}",
    "Skellam": "RDP (Skellam bound of Agarwal et al. 2021, and fedrec's own between whole orders), compared with "
    f"the Gaussian's RDP ({_LIBRARY})",
}


@dataclass(frozen=True, slots=True)
class Epsilon:
    """An epsilon at a delta, the one for replacing a unit instead of zeroing it out, and other opinions.

    cross_check: by PRV, .01 above its own estimate; the Gaussian's RDP where noise is Skellam.
    rdp: a looser upper bound. published: of Skellam noise by the bound of its authors alone; None without any.
    """

    value: float
    delta: float
    replace_one: float
    cross_check: float = 0.0
    rdp: float = 0.0
    published: float | None = None
    accountant: str = ACCOUNTANT


def composed(spends: Iterable[Spend]) -> Spending:
    """Group equal participations; the order of composition does not matter."""
    counts: dict[Spend, int] = {}
    for spend in spends:
        counts[spend] = counts.get(spend, 0) + 1
    return tuple(sorted(counts.items(), key=repr))


def spending_by_client(events: Iterable[dict[str, Any]]) -> dict[int, Spending]:
    """Each client's composed spending, from the events of a server's ledger."""
    tally = Tally.of(events)
    distinct, which = tally.spendings()
    return {client: distinct[place] for client, place in zip(tally.ids.tolist(), which.tolist(), strict=True)}


def worst_epsilon(spendings: Iterable[Spending], *, delta: float) -> float:
    """The largest epsilon over clients; 0 where nothing was spent."""
    return max((epsilon_of(spending, delta=delta) for spending in _undominated(set(spendings))), default=0.0)


def _undominated(spendings: Iterable[Spending]) -> list[Spending]:
    """Leave out who spent no more of anything than another did: that cannot be the worst."""
    kept: list[tuple[Spending, dict[Spend, int]]] = []
    # Who outspends another took part more often, and so comes first.
    for spending in sorted(spendings, key=lambda spent: -sum(count for _, count in spent)):
        if not any(all(other.get(spend, 0) >= count for spend, count in spending) for _, other in kept):
            kept.append((spending, dict(spending)))
    return [spending for spending, _ in kept]


def epsilon_of(spending: Spending, *, delta: float, replace_one: bool = False) -> float:
    """Epsilon of a composition at `delta`, for one unit zeroed out, or replaced; never below the true one.

    Up to a thousand sub-sampled steps, epsilon 100 and down to delta 1e-9 it is at most 1e-4 above.
    """
    return _headline(spending, delta, replace_one)[0]


def epsilon_curve(spending: Spending, deltas: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(delta, epsilon) for each delta: one mechanism keeps all of these promises at once."""
    return tuple((delta, epsilon_of(spending, delta=delta)) for delta in deltas)


def checked_epsilon(spending: Spending, *, delta: float) -> Epsilon:
    """The reported figure, after the second library has agreed.

    Raises VerificationError if it and PRV differ by more than max(.02, 1%), if PLD misses
    the closed form, or if the figure is beyond what two libraries can compute.
    """
    value, method = _headline(spending, delta, False)
    if method == "Skellam":
        return _beside_gaussian(spending, value, delta)
    _refuse_beyond(value, sampled_steps(spending))
    other = prv_epsilon(spending, delta=delta)
    # RDP is an upper bound: PRV may lie as far below it as it likes.
    apart = other - value if method == "RDP" else abs(value - other)
    _agree(apart, max(0.02, 0.01 * value), (method, value), ("PRV", other), delta)
    if method == "closed form":
        pld = pld_epsilon(spending, delta=delta)
        _agree(abs(value - pld), 1e-4 * max(1.0, value / 100), (method, value), ("PLD", pld), delta)
    return Epsilon(
        value=value,
        delta=delta,
        replace_one=epsilon_of(spending, delta=delta, replace_one=True),
        cross_check=other,
        rdp=rdp_epsilon(spending, delta=delta),
        accountant=ACCOUNTANTS[method],
    )


def _beside_gaussian(spending: Spending, value: float, delta: float) -> Epsilon:
    """Epsilon by Skellam's RDP, beside that of Gaussian noise of the same size, which it is never under."""
    gaussian = rdp_epsilon_of_gaussians(spending, delta=delta)
    replaced = epsilon_of(spending, delta=delta, replace_one=True)
    # Both are told; beyond some 200 the sampler's precision bounds neither.
    _refuse_beyond(value if math.isfinite(replaced) else replaced, sampled_steps(spending))
    _agree(gaussian - value, 1e-6, ("RDP of Skellam noise", value), ("that of Gaussian noise", gaussian), delta)
    return Epsilon(
        value=value,
        delta=delta,
        replace_one=replaced,
        cross_check=gaussian,
        rdp=value,
        published=rdp_epsilon(spending, delta=delta, published=True),
        accountant=ACCOUNTANTS["Skellam"],
    )


@lru_cache(maxsize=4096)
def _headline(spending: Spending, delta: float, replace_one: bool) -> tuple[float, Method]:
    """The figure to report and how it was found."""
    if skellams(spending):
        # Renyi divergences of a replacement under sampling are not known: then it is left out.
        return (
            renyi_epsilon(spending, delta=delta, replace_one=True)
            if replace_one
            else rdp_epsilon(spending, delta=delta)
        ), "Skellam"
    exact = exact_epsilon(spending, delta=delta, replace_one=replace_one)
    if exact is not None:
        return exact, "closed form"
    # RDP of a sub-sampled replacement has no accountant; leaving the sampling out bounds it.
    bound = (
        epsilon_without_amplification(spending, delta=delta, replace_one=True)
        if replace_one
        else rdp_epsilon(spending, delta=delta)
    )
    value = pld_epsilon(spending, delta=delta, replace_one=replace_one)
    # A figure above an upper bound, or that is no number, is PLD's failure.
    return (value, "PLD") if value <= bound else (bound, "RDP")


def _refuse_beyond(epsilon: float, steps: int) -> None:
    """Refuse what cannot be cross-checked, before it takes minutes to find out."""
    if epsilon > MOST_EPSILON:
        raise VerificationError(
            f"Epsilon would be about {epsilon:.4g}. Over {MOST_EPSILON:g} it cannot be cross-checked and protects "
            "nobody: raise noise_multiplier or take part less often."
        )
    if steps > MOST_SAMPLED_STEPS:
        raise VerificationError(
            f"{steps} sub-sampled steps cannot be cross-checked; the most is {MOST_SAMPLED_STEPS}. "
            "Plan fewer steps, or a sampling rate of 1."
        )


def _agree(apart: float, allowed: float, one: tuple[str, float], other: tuple[str, float], delta: float) -> None:
    # Asked this way round, so that a figure that is no number is a disagreement.
    if not (math.isfinite(one[1]) and apart <= allowed and math.isfinite(other[1])):
        raise VerificationError(
            f"Two accountants disagree: {one[0]} gives epsilon {one[1]:.4f}, {other[0]} {other[1]:.4f} "
            f"at delta {delta:g}. No epsilon is reported; report this recipe as a fault."
        )
