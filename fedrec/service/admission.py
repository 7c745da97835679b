"""Whether a catalogue's rounds may begin: what devices would refuse, or no budget allows, is refused here first."""

from pathlib import Path

from fedrec.errors import ConfigError
from fedrec.privacy.budget import Budget
from fedrec.runs.admission import budget_for, require_small_delta
from fedrec.training.foundation import Foundation


def admit(foundation: Foundation, out: Path, *, people: int) -> Budget:
    """The budget of rounds that may begin.

    out: the folder of the run. people: how many devices are enrolled.
    Raises ConfigError for a scenario that devices do not serve, RefusedError where its plan would pass the budget.
    """
    scenario, plan = foundation.scenario, foundation.plan
    budget = budget_for(plan, scenario.budget, out=out)
    if plan is None or budget is None:
        raise ConfigError(
            'privacy.mode is "none", and a device takes part only under a plan. Use "central" or "local".'
        )
    if scenario.privacy.noise != "system":
        raise ConfigError('privacy.noise = "seeded" can be reproduced from the seed. Use "system".')
    if scenario.data.users_per_client != 1:
        raise ConfigError(
            f"data.users_per_client is {scenario.data.users_per_client}, and a device is one person's. Set it to 1."
        )
    if scenario.model.tower != "linear":
        raise ConfigError('model.tower = "text" does not run on devices. Use "linear".')
    require_small_delta(plan, people=people)
    return budget
