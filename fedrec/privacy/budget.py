"""What may be spent at most: checked on a whole plan before a message, and by a client before it takes part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fedrec.errors import BudgetError
from fedrec.privacy.plan import GaussianSpend, PrivacyPlan
from fedrec.privacy_config import BudgetConfig

# Epsilon of a composition of spends at a delta.
EpsilonOf = Callable[[Sequence[GaussianSpend], float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A lifetime epsilon at `delta`, and rate limits on participations by UTC day and month.

    Rate limits bound no epsilon: it composes over the whole life of the client.
    """

    epsilon: float | None
    delta: float
    per_day: int | None = None
    per_month: int | None = None

    @classmethod
    def of(cls, config: BudgetConfig, *, delta: float) -> "Budget":
        """The budget that a scenario sets."""
        return cls(epsilon=config.epsilon, delta=delta, per_day=config.per_day, per_month=config.per_month)

    def require_room(
        self, entries: Sequence[Mapping[str, Any]], more: Sequence[GaussianSpend], *, now: float, epsilon_of: EpsilonOf
    ) -> None:
        """Raise BudgetError if what a client's ledger holds, and `more`, would pass this budget.

        entries: the events of the client's own ledger. now: UTC seconds.
        """
        self._check_rates([float(entry["time"]) for entry in entries], now)
        if self.epsilon is None:
            return
        spent = [GaussianSpend.from_event(entry) for entry in entries]
        after = epsilon_of([*spent, *more], self.delta)
        if not after <= self.epsilon:
            raise BudgetError(
                f"Taking part would bring this client to epsilon {after:.2f}, over its lifetime budget of "
                f"{self.epsilon:g}. It takes part no more."
            )

    def _check_rates(self, times: Sequence[float], now: float) -> None:
        for limit, period, form in ((self.per_day, "day", "%Y-%m-%d"), (self.per_month, "month", "%Y-%m")):
            current = _period(now, form)
            # A clock that was set back must not open a period again.
            count = sum(_period(time, form) >= current for time in times)
            if limit is not None and count >= limit:
                raise BudgetError(
                    f"This client has taken part {count} times in the {period}, its rate limit. Ask again later."
                )


def require_plan_within(
    plan: PrivacyPlan, budget: Budget, earlier: Sequence[GaussianSpend], *, epsilon_of: EpsilonOf
) -> None:
    """Raise BudgetError, naming the round, if a client that takes part whenever it may would pass the budget.

    earlier: what the client that spent most has spent before this run.
    """
    if budget.epsilon is None:
        return

    def after(participations: int) -> float:
        return epsilon_of([*earlier, *plan.spends(participations)], budget.delta)

    most = plan.limits.most
    if after(most) <= budget.epsilon:
        return
    low, high = -1, most  # `low` participations are within the budget, `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle >= 0 and after(middle) <= budget.epsilon else (low, middle)
    if low < 1:
        raise BudgetError(
            f"Round 1 would spend epsilon {after(1):.2f}, over the budget of {budget.epsilon:g}. "
            "Raise privacy.noise_multiplier."
        )
    passing = (high - 1) * plan.limits.separation + 1
    raise BudgetError(
        f"Round {passing} would spend epsilon {after(high):.2f}, over the budget of {budget.epsilon:g}. "
        f"Raise privacy.noise_multiplier, set privacy.participations = {low}, or stop at round {passing - 1}."
    )


def _period(time: float, form: str) -> str:
    return datetime.fromtimestamp(time, tz=UTC).strftime(form)
