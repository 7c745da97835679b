"""What a ledger adds up to, for whoever took part most: the numbers of a budget report."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedrec.privacy.accounting import (
    Epsilon,
    Spending,
    checked_epsilon,
    composed,
    epsilon_curve,
    epsilon_of,
    spending_by_client,
)
from fedrec.privacy.gaussian import gdp_mu, zcdp_rho
from fedrec.privacy.spends import Spend, spend_of
from fedrec.reporting.figures import rounded_up
from fedrec.reporting.privacy.evidence import Event

DELTAS = (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The client that spent most, at a delta; `spending` is empty where nobody spent anything."""

    spending: Spending
    epsilon: Epsilon


def worst_of(candidates: Iterable[Spending], *, delta: float) -> Spent:
    """The worst of several spendings, checked by the second library.

    Raises VerificationError if the two accountants disagree.
    """
    worst = max(candidates, key=lambda spending: epsilon_of(spending, delta=delta), default=())
    return Spent(spending=worst, epsilon=checked_epsilon(worst, delta=delta))


def largest(spendings: Iterable[Spending]) -> list[Spending]:
    """The spendings that no other one holds whole: one of them is the worst at every delta.

    >>> from fedrec.privacy.spends import GaussianSpend
    >>> once = GaussianSpend(noise_multiplier=2.0, sampling_rate=1.0, steps=1)
    >>> largest([((once, 1),), ((once, 3),), ()]) == [((once, 3),)]
    True
    """
    distinct = sorted(set(spendings), key=repr)
    return [one for one in distinct if not any(one != other and _holds(other, one) for other in distinct)]


def _holds(whole: Spending, part: Spending) -> bool:
    counts = dict(whole)
    return all(count <= counts.get(spend, 0) for spend, count in part)


def together(spendings: Iterable[Spending]) -> Spending:
    """All of them spent by the same person."""
    total: Counter[Spend] = Counter()
    for spending in spendings:
        total.update(dict(spending))
    return tuple(sorted(total.items(), key=repr))


def by_round(events: Sequence[Event], *, delta: float, before: Spending = ()) -> list[tuple[int, float]]:
    """(round, epsilon spent so far by the client that spent most), for every round in the ledger.

    before: what that client is taken to have spent in earlier runs.
    """
    found: dict[int, float] = {}
    spends: dict[int, list[Spend]] = {}
    worst = epsilon_of(before, delta=delta)
    for event in events:
        spend = spend_of(event)
        for client in event["participants"]:
            spends.setdefault(client, []).append(spend)
        touched = {together([before, composed(spends[client])]) for client in event["participants"]}
        # Spending only grows, so only those who have just spent can set a new maximum.
        worst = max([worst, *(epsilon_of(spending, delta=delta) for spending in largest(touched))])
        found[int(event.get("round", 0))] = worst
    return sorted(found.items())


def curve(spendings: Iterable[Spending], *, delta: float) -> list[tuple[float, float]]:
    """(delta, epsilon) of the worst client at each delta, the reported one among them."""
    deltas = sorted({*DELTAS, delta})
    curves = [epsilon_curve(spending, deltas) for spending in largest(spendings)]
    return [(each, max((line[place][1] for line in curves), default=0.0)) for place, each in enumerate(deltas)]


def spendings_of(events: Iterable[Event]) -> list[Spending]:
    """The distinct spendings of all clients."""
    return sorted(set(spending_by_client(events).values()), key=repr)


def curve_facts(spendings: Iterable[Spending], *, delta: float) -> list[dict[str, float]]:
    """The curve as a report tells it: never below what was spent."""
    # Where all of a delta is what small sums may take of it, no epsilon goes with it.
    points = [point for point in curve(spendings, delta=delta) if math.isfinite(point[1])]
    return [{"delta": each, "epsilon": rounded_up(epsilon, 4)} for each, epsilon in points]


def gaussian_facts(spendings: Iterable[Spending]) -> dict[str, float | None]:
    """mu and rho of one Gaussian that bounds each spending; None where a step of any is sub-sampled.

    >>> from fedrec.privacy.spends import GaussianSpend
    >>> gaussian_facts([((GaussianSpend(noise_multiplier=2.0), 4),), ()])
    {'gdp_mu': 1.0, 'zcdp_rho': 0.5}
    """
    found = [(gdp_mu(each), zcdp_rho(each)) for each in set(spendings)]
    whole = [(mu, rho) for mu, rho in found if mu is not None and rho is not None]
    if len(whole) < len(found):
        return {"gdp_mu": None, "zcdp_rho": None}
    mus, rhos = zip(*(whole or [(0.0, 0.0)]), strict=True)
    return {"gdp_mu": rounded_up(max(mus), 4), "zcdp_rho": rounded_up(max(rhos), 4)}
