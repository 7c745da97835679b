"""What a run may say about its privacy: one dictionary, recomputed from the ledger."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedrec.errors import VerificationError
from fedrec.privacy.accounting import checked_epsilon, composed, epsilon_of, spending_by_client
from fedrec.privacy.amplification import amplified_by, possible_participations
from fedrec.privacy.ledger import read_events
from fedrec.privacy.plan import ADJACENCY, PrivacyPlan
from fedrec.privacy.spends import Spend

NOT_PRIVATE = {
    "mode": "none",
    **dict.fromkeys(("unit", "adjacency", "epsilon", "delta", "accountant", "sampling", "participations")),
    "guarantee": False,
    "statement": "NOT PRIVATE: no noise was added.",
}
SEEDED = "NOT A DP GUARANTEE: the noise of this run can be reproduced from its seed."


def privacy_statement(
    plan: PrivacyPlan | None, events: Sequence[dict[str, Any]], *, system_noise: bool
) -> dict[str, Any]:
    """The `privacy` object of `--json`: what the client that spent most has spent.

    events: the server's ledger, oldest first. guarantee is false if any noise was seeded. Where the server drew by
    secret coins, it is what a client could have spent: how often one was drawn would tell of the coins.
    Raises VerificationError if two accountants disagree.
    """
    if plan is None:
        return dict(NOT_PRIVATE)
    spendings, most = set(spending_by_client(events).values()), max(participations(events).values(), default=0)
    coins = amplified_by(plan, events, secret=system_noise)
    if plan.cohort_rate is not None:
        most = max(most, min(plan.limits.cap, possible_participations(events)))
        spendings.add(composed(plan.spends(most)))
    worst = max(spendings, key=lambda spent: epsilon_of(spent, delta=plan.delta), default=())
    epsilon = checked_epsilon(worst, delta=plan.delta)
    guarantee = system_noise and all(event["guarantee"] for event in events)
    whom = "on the client that took part most" if plan.cohort_rate is None else "on a client that took part most often"
    statement = f"epsilon {_up(epsilon.value, 2):.2f} at delta {plan.delta:g}, per {plan.unit}, {whom}"
    return {
        "mode": plan.mode,
        "unit": plan.unit,
        "unit_text": plan.unit_text(),
        "adjacency": ADJACENCY,
        "epsilon": _up(epsilon.value, 4),
        "epsilon_replace_one": _up(epsilon.replace_one, 4),
        "delta": plan.delta,
        "accountant": epsilon.accountant,
        "sampling": plan.sampling_text(),
        **({"masks": masks} if (masks := plan.masks_text()) else {}),
        **({"amplified": coins.as_json()} if coins else {}),
        "participations": most,
        "participation_cap": plan.limits.cap,
        "clip_norm": plan.clip_norm,
        "noise_multiplier": plan.noise_multiplier,
        "guarantee": guarantee,
        "statement": statement if guarantee else f"{SEEDED} With secret noise it would be {statement}.",
    }


def _up(value: float, digits: int) -> float:
    """Rounded up: an epsilon is never reported below what was spent."""
    scale = float(10**digits)
    return math.ceil(value * scale) / scale


def participations(events: Iterable[Mapping[str, Any]]) -> Counter[int]:
    """How often each client took part, by the events of a server's ledger, interrupted attempts included."""
    return Counter(client for event in events if event["kind"] == "update" for client in event["participants"])


def most_spent(events: Sequence[dict[str, Any]]) -> list[Spend]:
    """What any one client of a ledger has spent at most, in every kind of spend: a bound for each of them."""
    most: Counter[Spend] = Counter()
    for spending in set(spending_by_client(events).values()):
        most |= Counter(dict(spending))
    return list(most.elements())


def composed_epsilon(spends: Sequence[Spend], delta: float) -> float:
    """Epsilon of a list of spends, as a budget asks for it."""
    return epsilon_of(composed(spends), delta=delta)


def check_client_ledgers(server_events: Sequence[dict[str, Any]], clients: Iterable[tuple[int, Path]]) -> None:
    """Hold every client's own ledger against the server's.

    Raises VerificationError if a client has spent more than the server's ledger knows of.
    """
    known = participations(server_events)
    for client, path in clients:
        _require_known(sum(event["kind"] == "update" for event in read_events(path)), known[client])


def check_population_ledger(server_events: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]]) -> None:
    """Hold the one ledger of a simulated population against the server's, in the same way."""
    known = participations(server_events)
    for client, spent in participations(events).items():
        _require_known(spent, known[client])


def _require_known(spent: int, known: int) -> None:
    if spent > known:
        raise VerificationError(
            f"A client's ledger holds {spent} participations and the server's {known} for it. "
            "Do not publish an epsilon for this run; report it as a fault."
        )
