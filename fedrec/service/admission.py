"""Whether a catalogue's rounds may begin: what devices would refuse, or no budget allows, is refused here first."""

from pathlib import Path

from fedrec.errors import ConfigError
from fedrec.privacy.budget import Budget
from fedrec.runs.admission import budget_for, require_fits_grid, require_small_delta
from fedrec.service.served import require_served
from fedrec.training.foundation import Foundation


def admit(foundation: Foundation, out: Path, *, people: int) -> Budget:
    """The budget of rounds that may begin.

    out: the folder of the run. people: how many devices are enrolled.
    Raises ConfigError for a scenario that devices do not serve, RefusedError where its plan would pass the budget.
    """
    scenario, plan = foundation.scenario, foundation.plan
    require_served(scenario)
    budget = budget_for(plan, scenario.budget, out=out)
    if plan is None or budget is None:  # for the types: a private mode has both
        raise ConfigError("A device takes part only under a plan.")
    require_small_delta(plan, people=people)
    require_fits_grid(plan, size=foundation.model.layout.size)
    return budget
