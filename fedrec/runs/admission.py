"""Whether a plan may be carried out at all: accounted and held against the budget before anything is spent on it."""

import math
from pathlib import Path

from fedrec.config import Scenario
from fedrec.errors import ConfigError
from fedrec.privacy.accounting import checked_epsilon, composed
from fedrec.privacy.budget import Budget, require_plan_within
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.statement import composed_epsilon
from fedrec.privacy_config import BudgetConfig
from fedrec.reporting.privacy.earlier import runs_before


def budget_for(plan: PrivacyPlan | None, config: BudgetConfig, *, out: Path) -> Budget | None:
    """The budget that the whole plan keeps to, after what earlier runs spent; None where there is no plan.

    out: the folder of the run itself. Raises RefusedError where the plan would pass the budget.
    """
    before = runs_before(plan, map(Path, config.earlier_runs), own=out)
    if plan is None:
        return None
    # The whole plan is accounted by both libraries before anything is spent on it.
    checked_epsilon(composed(plan.spends(plan.limits.most)), delta=plan.delta)
    earlier = [spend for run in before for spend, count in run.spending for _ in range(count)]
    limits = Budget.of(config, delta=plan.delta, earlier=earlier)
    require_plan_within(plan, limits, epsilon_of=composed_epsilon)
    return limits


def require_small_delta(plan: PrivacyPlan, *, people: int) -> None:
    """Raise ConfigError for a delta that so many people could not call small."""
    most = min(1e-6, 1 / (10 * max(people, 1)))
    if plan.delta > most:
        raise ConfigError(f"privacy.delta is {plan.delta:g}; for {people} people it is at most {most:g}. Lower it.")


def require_bound_over_noise(scenario: Scenario, plan: PrivacyPlan | None, *, size: int) -> None:
    """Raise ConfigError for a norm bound that the noise of `local` mode alone reaches: nobody's update would count.

    size: of the flat adapter.
    """
    bound = scenario.federation.norm_bound
    if bound is None or plan is None or plan.local is None:
        return
    step = scenario.training.learning_rate / plan.local.expected_batch
    noise = step * plan.noise_std * math.sqrt(plan.local.steps * size)
    if bound < noise:
        raise ConfigError(
            f"federation.norm_bound is {bound:g}, and the noise of an update alone is {noise:.3g} long, so that hardly "
            f"any would count. Choose {2 * noise:.2g} or more."
        )


def require_fits_grid(plan: PrivacyPlan, *, size: int) -> None:
    """Raise ConfigError if an adapter of `size` numbers is larger than the grid of its plan's sums is accounted for."""
    if plan.secure_sum is not None and size > plan.secure_sum.size:
        raise ConfigError(
            f"The adapter has {size:,} numbers, and secure_aggregation.size is {plan.secure_sum.size:,}. Raise it."
        )
