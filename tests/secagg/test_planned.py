import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Scenario
from fedrec.errors import ConfigError, VerificationError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.accounting import composed, epsilon_of
from fedrec.privacy.agreeable import agreeable_plan
from fedrec.privacy.budget import Budget, require_plan_within
from fedrec.privacy.gaussian import epsilon_without_amplification
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import SkellamSpend, spend_of
from fedrec.privacy_config import PrivacyConfig, SecureAggregationConfig
from fedrec.secagg.parameters import parameters_for
from fedrec.secagg.planned import parameters_of, plan_of, require_recomputed, ring_of, secure_sum_for


def _scenario(**settings: Any) -> Scenario:
    cohort = settings.pop("cohort", 20)
    privacy = {"mode": "distributed", "noise_multiplier": 4.0, "clip_norm": 0.25, **settings.pop("privacy", {})}
    return Scenario(
        name="together",
        privacy=PrivacyConfig(**privacy),
        federation=FederationConfig(cohort=cohort, **settings.pop("federation", {})),
        secure_aggregation=SecureAggregationConfig(**{"drop_out": 0.1, "corruption": 0.1, **settings}),
    )


def _plan(**settings: Any) -> PrivacyPlan:
    plan = plan_of(_scenario(**settings))
    assert plan is not None
    return plan


def test_the_least_honest_clients_have_the_planned_noise_together() -> None:
    plan = _plan()
    total = plan.secure_sum
    assert total is not None
    parameters = parameters_for(20, drop_out=0.1, corruption=0.1)
    assert (total.least_honest, total.failure) == (parameters.least_honest, parameters.failure)
    assert total.least_honest * plan.share_variance == pytest.approx((4.0 * total.steps) ** 2, rel=1e-6)
    assert parameters_of(total) == parameters
    ring = ring_of(total)
    assert ring.scale == total.steps / 0.25 and ring.norm_squared == total.norm_squared


def test_a_participation_is_charged_with_the_norm_after_rounding_and_all_that_may_fail() -> None:
    plan = _plan(cohort=400)
    spend = plan.participation
    assert isinstance(spend, SkellamSpend) and plan.secure_sum is not None
    assert spend.norm_squared == plan.secure_sum.norm_squared > plan.secure_sum.steps**2
    assert 0 < spend.failure <= 2.0**-40 and 0 < spend.total_variation < 1e-20
    assert spend.noise_multiplier == pytest.approx(4.0, rel=1e-3) and spend.noise_multiplier < 4.0


def test_epsilon_of_a_whole_plan_is_nearly_a_trusted_servers() -> None:
    distributed = _plan().spends(10)
    central = _plan(privacy={"mode": "central"}).spends(10)
    found, trusted = (epsilon_of(composed(spends), delta=1e-6) for spends in (distributed, central))
    assert trusted < found < 1.1 * trusted


def test_a_plan_survives_the_wire_and_a_device_works_it_out_again() -> None:
    plan = _plan(cohort=300)
    received = agreeable_plan(json.loads(json.dumps(plan.as_table())))
    assert received == plan
    require_recomputed(received)


def test_a_plan_of_before_sums_under_masks_is_still_read() -> None:
    plan = _plan(privacy={"mode": "central"})
    table = plan.as_table()
    del table["secure_sum"]
    assert PrivacyPlan.from_table(table) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"least_honest": 19},
        {"steps": 2**12},
        {"bits": 20},
        {"norm": 1.0},
        {"corruption": 0.0},
        {"size": 100},
        {"total_variation": 0.0},
        {"failure": 1e-12},
    ],
)
def test_numbers_that_a_server_made_up_are_not_taken(change: dict[str, Any]) -> None:
    plan = _plan()
    assert plan.secure_sum is not None
    with pytest.raises(VerificationError, match="n_min, grid or probabilities"):
        require_recomputed(replace(plan, secure_sum=replace(plan.secure_sum, **change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secure_sum": None}, "adds up under masks"),
        ({"unit": "SEGMENT"}, "protects a USER"),
        ({"metrics_noise": 4.0}, "no popularity and no metrics"),
        ({"mode": "central"}, "masks would hide"),
    ],
)
def test_a_plan_that_contradicts_itself_is_not_agreed_to(change: dict[str, Any], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        agreeable_plan(replace(_plan(), **change).as_table())


@given(
    st.sampled_from(["clients", "drop_out", "size", "norm", "steps", "bits", "failure"]),
    st.sampled_from([-1, 1e9, "x", None, math.nan]),
)
def test_a_secure_sum_of_nonsense_is_not_agreed_to(name: str, value: object) -> None:
    table = _plan().as_table()
    table["secure_sum"][name] = value
    with pytest.raises(VerificationError):
        agreeable_plan(table)


def test_masks_alone_spend_nothing_on_the_grid() -> None:
    scenario = Scenario(
        name="masked",
        privacy=PrivacyConfig(mode="local", unit="SEGMENT"),
        federation=FederationConfig(cohort=20, norm_bound=5.0),
        secure_aggregation=SecureAggregationConfig(enabled=True),
    )
    plan = plan_of(scenario)
    assert plan is not None and plan.secure_sum is not None
    assert (plan.share_variance, plan.secure_sum.total_variation, plan.secure_sum.norm) == (0, 0.0, 5.0)
    assert not isinstance(plan.participation, SkellamSpend)
    require_recomputed(agreeable_plan(plan.as_table()))


def test_a_cohort_that_no_threshold_serves_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot lose"):
        plan_of(_scenario(cohort=4, drop_out=0.25, corruption=0.25))


def test_a_ledgers_entry_says_all_that_accounting_needs() -> None:
    plan = _plan()
    event = json.loads(json.dumps(plan.event(plan.participation, kind="update")))
    assert spend_of(event) == plan.participation
    assert (event["mechanism"], event["mode"], event["unit"]) == ("distributed_skellam", "distributed", "USER")


def test_a_device_holds_itself_to_a_budget_by_the_same_bound() -> None:
    plan = _plan(privacy={"participations": 100})
    within = epsilon_of(composed(plan.spends(100)), delta=plan.delta)

    def on_device(spends: Any, delta: float) -> float:
        return epsilon_without_amplification(composed(spends), delta=delta)

    plan = replace(plan, limits=replace(plan.limits, rounds=100))
    require_plan_within(plan, Budget(epsilon=within * 1.001, delta=plan.delta), epsilon_of=on_device)
    with pytest.raises(Exception, match="over the budget"):
        require_plan_within(plan, Budget(epsilon=within * 0.9, delta=plan.delta), epsilon_of=on_device)


def test_a_sum_is_planned_for_its_rates_alone() -> None:
    one, other = (
        secure_sum_for(50, drop_out=drop, corruption=0.1, size=1000, norm=1.0, noise_multiplier=1.0)
        for drop in (0.1, 0.2)
    )
    assert one.least_honest > other.least_honest
    assert one.share_variance(1.0) < other.share_variance(1.0)
