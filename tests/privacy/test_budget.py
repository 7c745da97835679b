import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import BudgetError, ConfigError
from fedrec.privacy.budget import Budget, require_plan_within
from fedrec.privacy.plan import PopularityRelease
from fedrec.privacy.spends import GaussianSpend
from fedrec.privacy.statement import composed_epsilon, most_spent
from fedrec.privacy_config import BudgetConfig
from tests.small_worlds import a_central_plan

DELTA = 1e-6


def check(plan, epsilon, earlier=()):
    require_plan_within(plan, Budget(epsilon=epsilon, delta=DELTA, earlier=tuple(earlier)), epsilon_of=composed_epsilon)


def epsilon_after(plan, participations):
    return composed_epsilon(plan.spends(participations), DELTA)


def test_without_a_budget_nothing_is_refused():
    check(a_central_plan(noise_multiplier=0.3, cap=99), None)


def test_a_plan_within_the_budget_passes_and_a_little_less_does_not():
    plan = a_central_plan(cap=4, noise_multiplier=3.0)
    whole = epsilon_after(plan, 4)
    check(plan, whole)
    with pytest.raises(BudgetError):
        check(plan, whole - 1e-3)


@settings(max_examples=20, deadline=None)
@given(cap=st.integers(2, 12), allowed=st.integers(1, 11), separation=st.integers(1, 4))
def test_the_round_that_would_pass_is_named(cap, allowed, separation):
    allowed = min(allowed, cap - 1)
    plan = a_central_plan(cap=cap, noise_multiplier=3.0, separation=separation)
    budget = epsilon_after(plan, allowed)
    with pytest.raises(BudgetError) as refusal:
        check(plan, budget)
    text = str(refusal.value)
    passing = allowed * separation + 1
    assert f"Round {passing} would spend epsilon {epsilon_after(plan, allowed + 1):.2f}" in text
    assert f"privacy.participations = {allowed}" in text
    assert text.endswith(f"stop at round {passing - 1}.")


def test_rounds_that_the_cap_does_not_reach_are_not_counted():
    plan = a_central_plan(cap=50, rounds=3, noise_multiplier=3.0)
    check(plan, epsilon_after(plan, 3))


def test_a_first_round_over_the_budget_is_refused_by_its_noise():
    plan = a_central_plan(noise_multiplier=0.5, popularity=PopularityRelease(items=1, noise_multiplier=0.5))
    with pytest.raises(BudgetError, match=r"Round 1 would spend .* Raise privacy\.noise_multiplier\."):
        check(plan, 1.0)


def test_what_earlier_runs_spent_is_added():
    plan = a_central_plan(cap=4, noise_multiplier=3.0)
    budget = epsilon_after(plan, 4)
    with pytest.raises(BudgetError, match="Round 3 would"):
        check(plan, budget, [plan.participation] * 2)


def test_what_any_client_spent_at_most_is_taken_kind_by_kind():
    one, two = GaussianSpend(noise_multiplier=2.0), GaussianSpend(noise_multiplier=3.0)
    events = [
        {**one.as_event(), "participants": [1, 2]},
        {**one.as_event(), "participants": [1]},
        {**two.as_event(), "participants": [2]},
    ]
    assert sorted(most_spent(events), key=repr) == [one, one, two]


@pytest.mark.parametrize("limit", [{"epsilon": 0.0}, {"epsilon": float("nan")}, {"per_day": 0}, {"per_month": -1}])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ConfigError, match=re.escape(f"budget.{next(iter(limit))}")):
        BudgetConfig(**limit)


def test_a_number_that_is_none_never_counts_as_room():
    budget = Budget(epsilon=8.0, delta=DELTA)
    with pytest.raises(BudgetError):
        budget.require_room([], [GaussianSpend(noise_multiplier=1.0)], now=0.0, epsilon_of=lambda *_: float("nan"))
