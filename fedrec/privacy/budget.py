"""What may be spent at most: checked on a whole plan before a message, and by a client before it takes part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fedrec.errors import BudgetError
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import Spend, spend_of
from fedrec.privacy_config import BudgetConfig

# Epsilon of a composition of spends at a delta.
EpsilonOf = Callable[[Sequence[Spend], float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A lifetime epsilon at `delta`, and rate limits on participations by UTC day and month.

    earlier: what was spent on the same people before, in other runs. Rate limits bound no
    epsilon: it composes over the whole life of the client.
    """

    epsilon: float | None
    delta: float
    per_day: int | None = None
    per_month: int | None = None
    earlier: tuple[Spend, ...] = ()

    @classmethod
    def of(cls, config: BudgetConfig, *, delta: float, earlier: Sequence[Spend] = ()) -> "Budget":
        """The budget that a scenario sets."""
        return cls(
            epsilon=config.epsilon,
            delta=delta,
            per_day=config.per_day,
            per_month=config.per_month,
            earlier=tuple(earlier),
        )

    def after(self, spends: Sequence[Spend], *, epsilon_of: EpsilonOf) -> float:
        """Epsilon of these spends and all earlier ones."""
        return epsilon_of([*self.earlier, *spends], self.delta)

    def room_for(self, spends: Sequence[Spend], *, epsilon_of: EpsilonOf) -> bool:
        """Whether these spends and all earlier ones are within the lifetime epsilon."""
        return self.epsilon is None or self.after(spends, epsilon_of=epsilon_of) <= self.epsilon

    def require_room(
        self, entries: Sequence[Mapping[str, Any]], more: Sequence[Spend], *, now: float, epsilon_of: EpsilonOf
    ) -> None:
        """Raise BudgetError if what a client's ledger holds, and `more`, would pass this budget.

        entries: the events of the client's own ledger. now: UTC seconds.
        """
        self._check_rates([float(entry["time"]) for entry in entries if entry["kind"] == "update"], now)
        spends = [*(spend_of(entry) for entry in entries), *more]
        if not self.room_for(spends, epsilon_of=epsilon_of):
            raise BudgetError(
                f"Taking part would bring this client to epsilon {self.after(spends, epsilon_of=epsilon_of):.2f}, "
                f"over its lifetime budget of {self.epsilon:g}. It takes part no more."
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


def require_plan_within(plan: PrivacyPlan, budget: Budget, *, epsilon_of: EpsilonOf) -> None:
    """Raise BudgetError, naming the round, if a client that takes part whenever it may would pass the budget.

    Interruptions are not planned: they are asked for when they come, see `Budget.room_for`.
    """
    if budget.epsilon is None:
        return

    def after(participations: int) -> float:
        return budget.after(plan.spends(participations), epsilon_of=epsilon_of)

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
