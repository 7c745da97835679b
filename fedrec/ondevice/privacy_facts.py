"""What the person's data has spent, in words and numbers: from the device's own ledger."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fedrec.data.store.store import RECORD_LOST, Store
from fedrec.ondevice.participation import decided_before
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.gaussian import (
    best_guess,
    epsilon_without_amplification,
    exact_epsilon,
    mu_without_amplification,
)
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import Spend, Spending, skellams, spend_of

# What an entry of delta means before a plan was agreed to.
_USUAL_DELTA = 1e-6
_HUNDREDTHS = 100
_MIXED = "what one person did within one fixed UTC interval; a person who is active in many is many units"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One paid participation, the newest first. time: UTC seconds; bytes: of the vector that was sent for it."""

    time: int
    round: int
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyFacts:
    """epsilon: rounded up; `exact` is false where it is a bound that leaves sub-sampling out.

    budget, cap: None before anything was agreed to, or where the release sets none.
    """

    epsilon: float
    exact: bool
    delta: float
    budget: float | None
    participations: int
    cap: int | None
    unit: str
    words: str
    uploads: tuple[Upload, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a yes can come to: epsilon at delta after all participations that the plan allows, per `unit`."""

    epsilon: float
    exact: bool
    delta: float
    participations: int
    unit: str


def epsilon_on_device(spends: Sequence[Spend], delta: float) -> float:
    """Epsilon of a list of spends, never too low: exact for full batches, without amplification otherwise.

    A device has no numerical accountant; a budget that is asked with this closes early, never late.
    """
    return epsilon_without_amplification(tuple(Counter(spends).items()), delta=delta)


def privacy_facts(store: Store, *, latest: int = 10) -> PrivacyFacts:
    """What was spent so far, with the latest uploads."""
    entries = read_device_events(store)
    decided = decided_before(store)
    delta = decided.delta or _USUAL_DELTA
    spending = tuple(Counter(spend_of(entry) for entry in entries).items())
    segments = any(entry["unit"] == "SEGMENT" for entry in entries)
    paid = {entry["token"] for entry in entries if entry["kind"] != "metrics"}
    # Of Skellam noise a Gaussian's figure is no bound.
    mu = None if skellams(spending) else mu_without_amplification(spending)
    words = _words(len(paid), mu, _epsilon(spending, delta), delta, segments=segments)
    return PrivacyFacts(
        epsilon=_epsilon(spending, delta),
        exact=exact_epsilon(spending, delta=delta) is not None,
        delta=delta,
        budget=decided.budget.epsilon if decided.plan else decided.limit,
        participations=sum(entry["kind"] == "update" for entry in entries),
        cap=decided.plan.limits.cap if decided.plan else None,
        unit=_MIXED if segments else decided.plan.unit_text() if decided.plan else "",
        words=words + _lost(store.value(RECORD_LOST)),
        uploads=tuple(_upload(entry) for entry in reversed(entries[-latest:])),
    )


def offer_of(plan: PrivacyPlan) -> Offer:
    """What saying yes to a plan can come to at most, by the plan alone; the ledger's past comes on top."""
    most = plan.limits.most
    spending = tuple(Counter(plan.spends(most)).items())
    return Offer(
        epsilon=_epsilon(spending, plan.delta),
        exact=exact_epsilon(spending, delta=plan.delta) is not None,
        delta=plan.delta,
        participations=most,
        unit=plan.unit_text(),
    )


def _epsilon(spending: Spending, delta: float) -> float:
    """Rounded up, never below what was spent."""
    return math.ceil(epsilon_without_amplification(spending, delta=delta) * _HUNDREDTHS) / _HUNDREDTHS


def _words(count: int, mu: float | None, epsilon: float, delta: float, *, segments: bool) -> str:
    """One paragraph for the person, without a formula.

    segments: the unit is what was done within one fixed interval; a whole person is not bounded then.
    """
    if not count:
        return "Nothing about you has left this device."
    odds = best_guess(epsilon, delta=delta, mu=mu)
    times = "once" if count == 1 else f"{count} times"
    what = "what you did within any one of the fixed stretches of days" if segments else "your data"
    more = " Over many stretches it adds up to more." if segments else ""
    return (
        f"Your device took part {times}. Somebody who sees everything that was published and guesses whether {what} "
        f"had a part in it is right in at most {math.ceil(odds * _HUNDREDTHS)} of 100 cases; a coin is right in 50."
        f"{more} What was published cannot be called back."
    )


def _lost(when: int | None) -> str:
    """What to add where an earlier store of this device was damaged: its ledger is not counted here."""
    if when is None:
        return ""
    day = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
    return f" An earlier record on this device was damaged; what was spent before {day} is not counted here."


def _upload(entry: Mapping[str, Any]) -> Upload:
    return Upload(
        time=int(entry["time"]), round=int(entry["round"]), kind=str(entry["kind"]), bytes=int(entry.get("bytes", 0))
    )
