"""What the server's secret coins are worth: a smaller epsilon beside the one of known participation.

It holds for who sees the releases and nothing that tells of the coins, and is never the headline.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binom

from fedrec.privacy.accounting import Spending, checked_epsilon, epsilon_of
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import GaussianSpend, Spend

COVERS = (
    "the releases of this run alone, against who sees nothing else of it: ledgers, rounds.jsonl, pending.json, "
    "result.json, reports and traces each tell who was drawn, or how many"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplified:
    """Epsilon at delta by secret coins of a rate, over so many rounds.

    over_cap: the probability, inside delta, that a client's coins show heads more often than its cap lets it take
    part. value is None where the cap is so low that it would take half of delta.
    """

    value: float | None
    delta: float
    rate: float
    rounds: int
    over_cap: float
    accountant: str = ""

    @property
    def text(self) -> str:
        """What it says, in one sentence."""
        if self.value is None:
            return _CAP_BITES
        return (
            f"epsilon {math.ceil(self.value * 100) / 100:.2f} at delta {self.delta:g} by the server's secret coins, "
            f"rate {self.rate:g}, {self.rounds} rounds; never in place of the headline, as it covers {COVERS}"
        )

    def as_json(self) -> dict[str, Any]:
        """Its form in a statement, with its assumptions."""
        return {
            "text": self.text,
            "epsilon": None if self.value is None else math.ceil(self.value * 1e4) / 1e4,
            "delta": self.delta,
            "accountant": self.accountant or None,
            "sampling_rate": self.rate,
            "rounds": self.rounds,
            "over_cap": self.over_cap,
            "covers": COVERS,
            "assumptions": list(_ASSUMPTIONS) if self.value is not None else [_CAP_BITES],
        }


_ASSUMPTIONS = (
    "each client is drawn into each round by a coin of its own, thrown with the operating system's randomness and kept "
    "secret (Poisson sampling)",
    "who could be drawn, and who answered, does not depend on the coins",
    "no round is left out, whoever answered, and the sum is divided by a constant",
    "it is of this run alone: what earlier runs on the same people spent is not in it",
)
_CAP_BITES = (
    "no figure: coins would show heads more often than a client may take part, by its cap or after attempts that were "
    "lost by its budget, so that who was left out tells of them. Raise privacy.participations, or lower "
    "federation.sampling_rate or federation.rounds"
)


def amplified(plan: PrivacyPlan, *, attempts: int, wasted: int = 0) -> Amplified | None:
    """What so many attempts at rounds cost by secret coins; None where the plan claims nothing for them.

    wasted: attempts beyond the first of a round; each may bring a client one nearer to its cap. That is taken for no
    more than the rounds, as a budget is only held to have room for these.

    The client of whom is told is compared with itself without a cap. That one is a composition of sub-sampled
    Gaussians, whatever others do. The two differ with probability `over_cap` at most, which costs
    (1 + e^epsilon) over_cap of delta. Raises VerificationError where accountants disagree.
    """
    if plan.cohort_rate is None:
        return None
    found = Amplified(
        value=None,
        delta=plan.delta,
        rate=plan.cohort_rate,
        rounds=attempts,
        over_cap=float(binom.sf(plan.limits.most - wasted, attempts, plan.cohort_rate)),
    )
    spending = _spending(plan, attempts)
    widest = plan.delta if not found.over_cap else plan.delta / 2
    # At half of delta epsilon is larger, and so bounds what leaving the cap out costs.
    taken = found.over_cap * (1 + math.exp(min(epsilon_of(spending, delta=widest), 700.0)))
    if taken > plan.delta / 2:
        return found
    epsilon = checked_epsilon(spending, delta=plan.delta - taken)
    return Amplified(
        value=epsilon.value,
        delta=plan.delta,
        rate=plan.cohort_rate,
        rounds=attempts,
        over_cap=found.over_cap,
        accountant=epsilon.accountant,
    )


def amplified_by(plan: PrivacyPlan, events: Sequence[Mapping[str, Any]], *, secret: bool) -> Amplified | None:
    """The same for what a ledger holds; None where an entry was not of the plan's coins, or any were seeded.

    secret: whether noise and coins were to come from the operating system.
    """
    updates = [event for event in events if event["kind"] == "update"]
    if plan.cohort_rate is None or any(event.get("cohort_rate") != plan.cohort_rate for event in updates):
        return None
    if not (secret and all(event["guarantee"] for event in updates)):
        return None
    rounds, tokens = ({event[name] for event in updates} for name in ("round", "token"))
    return amplified(plan, attempts=len(tokens), wasted=possible_participations(events) - len(rounds))


def possible_participations(events: Iterable[Mapping[str, Any]]) -> int:
    """The most often that a client can have taken part, whatever its coins: in every attempt, and as often within one
    as any client was interrupted.
    """
    within: dict[str, int] = {}
    for event in events:
        if event["kind"] == "update":
            within[event["token"]] = max(within.get(event["token"], 0), event.get("attempt", 0))
    return sum(1 + interrupted for interrupted in within.values())


def _spending(plan: PrivacyPlan, rounds: int) -> Spending:
    """Of one client that is thrown a coin in every round; one coin decides on its update and its metrics together."""
    precision = plan.noise_multiplier**-2 + (plan.metrics_noise**-2 if plan.metrics_noise is not None else 0.0)
    spends: list[Spend] = []
    if plan.popularity is not None:
        spends.append(GaussianSpend(noise_multiplier=plan.popularity.noise_multiplier))
    if rounds and plan.cohort_rate is not None:
        each = GaussianSpend(noise_multiplier=precision**-0.5, sampling_rate=plan.cohort_rate, steps=rounds)
        spends.append(each)
    return tuple((spend, 1) for spend in sorted(spends, key=repr))
