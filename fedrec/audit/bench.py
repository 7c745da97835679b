"""The configuration that is audited, and a workbench whose clients hold canaries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from fedrec.audit.canaries import SIZE, Canaries, canary_model
from fedrec.config import DataConfig, Scenario, TrainingConfig
from fedrec.data.sequences import Ints
from fedrec.errors import ConfigError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy_config import Mode, PrivacyConfig, SecureAggregationConfig
from fedrec.secagg.planned import plan_of
from fedrec.training.examples import Example
from fedrec.training.workbench import Workbench

# Rounds in `central` mode, hubs in `local` mode.
RELEASES = 2
DELTA = 1e-6
CLIP_NORM = 0.5
# Of what a reader sees of one unit, in both modes; the epsilon is small, as one run shows at most about 4.6.
NOISE = 2.0
LOCAL_STEPS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class CanaryBench(Workbench):
    """The deployed clients, plans and sources of noise; only the examples are canaries.

    members: the canaries of each client.
    """

    canaries: Canaries

    def examples(self, client: int) -> list[Example]:
        """The canaries that a client holds."""
        return [self.canaries.example(int(each), clip_norm=CLIP_NORM) for each in self.members[client]]


def canary_bench(mode: Mode, canaries: Canaries) -> CanaryBench:
    """Every canary on a client of its own (`central`, `distributed`), or as people of two hubs (`local`).

    A canary that its coin left out is a client without data, or a person who did nothing.
    """
    members: Sequence[Ints]
    if mode != "local":
        members = [
            np.array([canary] if there else [], dtype=np.int64) for canary, there in enumerate(canaries.included)
        ]
    else:
        members = [np.arange(hub, len(canaries), RELEASES) for hub in range(RELEASES)]
    scenario = audited(mode, clients=len(canaries))
    # Canaries stand in for a data set: there is none, and nothing asks for one.
    nothing = cast(Any, None)
    return CanaryBench(
        scenario=scenario,
        dataset=nothing,
        split=nothing,
        index=nothing,
        query_vectors=nothing,
        model=canary_model(),
        plan=audited_plan_of(scenario),
        members=members,
        canaries=canaries,
    )


def audited(mode: Mode, *, clients: int) -> Scenario:
    """The configuration that is audited: every client takes part in one round."""
    whole = mode != "local"
    steps = 1 if whole else LOCAL_STEPS
    return Scenario(
        name="audit",
        data=DataConfig(users_per_client=1 if whole else max(2, clients // RELEASES)),
        training=TrainingConfig(steps=steps),
        federation=FederationConfig(
            rounds=RELEASES if whole else 1,
            cohort=max(1, clients // RELEASES) if whole else RELEASES,
            server_optimizer="fedavg",
            server_rate=1.0,
            release_every=RELEASES,
        ),
        privacy=PrivacyConfig(
            mode=mode,
            clip_norm=CLIP_NORM,
            delta=DELTA,
            participations=1,
            # Over the steps a signal adds up, and independent noise to its root.
            noise_multiplier=NOISE * steps**0.5,
        ),
        secure_aggregation=SecureAggregationConfig(drop_out=0, corruption=0, size=SIZE),
    )


def audited_plan_of(scenario: Scenario) -> PrivacyPlan | None:
    """A scenario's plan; the whole cohort is summed here, and its shares of the noise are together what is charged."""
    plan = plan_of(scenario)
    if plan is None or plan.secure_sum is None:
        return plan
    return replace(plan, secure_sum=replace(plan.secure_sum, least_honest=plan.secure_sum.clients))


def audited_plan(mode: Mode, *, clients: int = 2 * RELEASES) -> PrivacyPlan:
    """The plan of the configuration that is audited; raises ConfigError where the mode has none.

    clients: of all rounds together; the grid of `distributed` mode follows from them.
    """
    plan = audited_plan_of(audited(mode, clients=clients))
    if plan is None:
        raise ConfigError(f"There is no noise to audit in mode `{mode}`. Choose central, distributed or local.")
    return plan
