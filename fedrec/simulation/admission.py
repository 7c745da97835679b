"""Whether a simulation may start: what would only fail later is refused before anything is written."""

from pathlib import Path

from fedrec.config import Scenario
from fedrec.errors import ConfigError
from fedrec.evaluation.baselines import NAMES
from fedrec.evaluation.protocol import held_out_users
from fedrec.federation_config import FederationConfig
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import BudgetConfig
from fedrec.runs.admission import budget_for, require_fits_grid, require_small_delta
from fedrec.training.workbench import Workbench


def admit(workbench: Workbench, out: Path) -> Budget | None:
    """The budget of a run that may start; None where it asks for no privacy.

    out: the folder of the run. Raises ConfigError where its settings cannot be kept on these
    data, RefusedError where its plan would pass the budget.
    """
    scenario, plan = workbench.scenario, workbench.plan
    _require_baselines(scenario.evaluation.baselines)
    held_out_users(workbench.split, test=False)
    _require_cohort_of_coins(scenario, clients=len(workbench.members))
    if plan:
        require_small_delta(plan, people=workbench.split.sequences.users)
        require_fits_grid(plan, size=workbench.model.layout.size)
    limits = budget_for(plan, scenario.budget, out=out)
    if plan is None:
        return None
    _require_rates(plan, scenario.budget)
    _require_participations(plan, scenario.federation, clients=len(workbench.members))
    return limits


def _require_baselines(names: tuple[str, ...]) -> None:
    unknown = set(names) - set(NAMES)
    if unknown:
        raise ConfigError(f"There is no baseline `{sorted(unknown)[0]}`. Choose from {', '.join(NAMES)}.")


def _require_cohort_of_coins(scenario: Scenario, *, clients: int) -> None:
    """A sum that is divided by what its coins do not give would be another step than the settings seem to say."""
    rate, cohort = scenario.federation.sampling_rate, scenario.federation.cohort
    if rate is None or scenario.availability.pattern != "always":
        return
    expected = rate * clients
    if abs(cohort - expected) > max(0.5, 0.05 * expected):
        raise ConfigError(
            f"federation.cohort is {cohort}, by which a sum is divided, and federation.sampling_rate {rate:g} draws "
            f"{expected:.4g} of {clients} clients on average. Set cohort = {max(round(expected), 1)}, or "
            f"sampling_rate = {min(cohort / clients, 1.0):.4g}."
        )


def _require_rates(plan: PrivacyPlan, budget: BudgetConfig) -> None:
    """Rate limits that no simulation can keep, because its rounds all fall on one day."""
    for rate, period in ((budget.per_day, "day"), (budget.per_month, "month")):
        if rate is not None and rate < plan.limits.most:
            raise ConfigError(
                f"budget.per_{period} {rate} is under the {plan.limits.most} rounds of one client, and all rounds of a "
                "simulation fall on one day. Leave it out, or lower privacy.participations."
            )


def _require_participations(plan: PrivacyPlan, federation: FederationConfig, *, clients: int) -> None:
    if plan.secure_sum is not None and clients < federation.cohort:
        raise ConfigError(
            f"federation.cohort is {federation.cohort}, and there are {clients} clients: a round under masks, whose "
            "noise is sized for a full cohort, asks nobody. Lower federation.cohort."
        )
    each = min(federation.asked, clients)
    asked = federation.rounds * each
    if asked > clients * plan.limits.most:
        raise ConfigError(
            f"{federation.rounds} rounds of {each} clients are {asked} participations; "
            f"{clients} clients that take part {plan.limits.most} times each allow {clients * plan.limits.most}. "
            "Lower federation.rounds or federation.cohort, or raise privacy.participations and pay for it."
        )
