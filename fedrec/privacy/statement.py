"""What a run may say about its privacy: one dictionary, recomputed from the ledger."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fedrec.errors import VerificationError
from fedrec.privacy.accounting import ACCOUNTANT, Spending, checked_epsilon, epsilon_of, spending_by_client
from fedrec.privacy.ledger import read_events
from fedrec.privacy.plan import ADJACENCY, PrivacyPlan

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

    events: the server's ledger, oldest first. guarantee is false if any noise was seeded.
    Raises VerificationError if two accountants disagree.
    """
    if plan is None:
        return dict(NOT_PRIVATE)
    spendings = spending_by_client(events)
    worst = max(spendings.values(), key=lambda spent: epsilon_of(spent, delta=plan.delta), default=())
    epsilon = checked_epsilon(worst, delta=plan.delta)
    guarantee = system_noise and all(event["guarantee"] for event in events)
    statement = (
        f"epsilon {_up(epsilon.value, 2):.2f} at delta {plan.delta:g}, per {plan.unit}, "
        "on the client that took part most"
    )
    return {
        "mode": "local",
        "unit": plan.unit,
        "unit_text": plan.unit_text(),
        "adjacency": ADJACENCY,
        "epsilon": _up(epsilon.value, 4),
        "epsilon_replace_one": _up(epsilon.replace_one, 4),
        "delta": plan.delta,
        "accountant": ACCOUNTANT,
        "sampling": plan.sampling_text(),
        "participations": participations(worst),
        "participation_cap": plan.participation_cap,
        "clip_norm": plan.clip_norm,
        "noise_multiplier": plan.noise_multiplier,
        "guarantee": guarantee,
        "statement": statement if guarantee else f"{SEEDED} With secret noise it would be {statement}.",
    }


def _up(value: float, digits: int) -> float:
    """Rounded up: an epsilon is never reported below what was spent."""
    scale = float(10**digits)
    return math.ceil(value * scale) / scale


def participations(spending: Spending) -> int:
    """How many participations a client's spending holds, interrupted ones included."""
    return sum(count for _, count in spending)


def check_client_ledgers(server_events: Sequence[dict[str, Any]], clients: Iterable[tuple[int, Path]]) -> None:
    """Hold every client's own ledger against the server's.

    Raises VerificationError if a client has spent more than the server's ledger knows of.
    """
    known = {client: participations(spent) for client, spent in spending_by_client(server_events).items()}
    for client, path in clients:
        spent = len(read_events(path))
        if spent > known.get(client, 0):
            raise VerificationError(
                f"A client's ledger holds {spent} participations and the server's {known.get(client, 0)} for it. "
                "Do not publish an epsilon for this run; report it as a fault."
            )
