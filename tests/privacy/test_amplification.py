"""What the server's secret coins are worth, held against direct integration, and never the headline."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from fedrec.privacy.amplification import amplified, amplified_by, possible_participations
from fedrec.privacy.plan import Limits, PopularityRelease, PrivacyPlan
from fedrec.privacy.planning import Question
from fedrec.privacy.statement import privacy_statement
from tests.small_worlds import a_central_plan


def of_coins(rate: float = 0.1, *, cap: int = 20, rounds: int = 20, **changes: Any) -> PrivacyPlan:
    limits = Limits(cap=cap, rounds=rounds)
    return replace(a_central_plan(cap=cap), limits=limits, cohort_rate=rate, **changes)


def test_a_plan_without_coins_claims_nothing_for_the_draw() -> None:
    assert amplified(a_central_plan(), attempts=5) is None


def test_without_a_cap_that_can_bite_it_is_the_composition_of_sub_sampled_rounds() -> None:
    plan = of_coins(0.05, cap=30, rounds=30, noise_multiplier=1.0)
    accountant = PLDAccountant()
    accountant.compose(PoissonSampledDpEvent(0.05, GaussianDpEvent(1.0)), 30)
    found = amplified(plan, attempts=30)
    assert found is not None
    assert found.over_cap == 0
    assert found.value == pytest.approx(accountant.get_epsilon(plan.delta), abs=2e-3)


def test_it_is_what_the_planner_says_of_the_same_coins() -> None:
    plan = of_coins(0.02, cap=50, rounds=50, noise_multiplier=0.8)
    question = Question(mode="central", sampling="poisson", sampling_rate=0.02, rounds=50)
    found = amplified(plan, attempts=50)
    from fedrec.privacy.accounting import epsilon_of

    assert found is not None
    assert found.value == epsilon_of(question.schedule().spending(0.8), delta=plan.delta)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    rate=st.floats(0.002, 0.2),
    noise=st.floats(0.6, 4.0),
    cap=st.integers(1, 2),
    epsilon_share=st.floats(0.3, 1.0),
)
def test_a_cap_on_coins_is_never_told_for_less_than_it_costs(
    rate: float, noise: float, cap: int, epsilon_share: float
) -> None:
    """Two rounds, a cap of one or two, and the exact divergence on a grid in both directions."""
    plan = of_coins(rate, cap=cap, rounds=2, noise_multiplier=noise, delta=min(0.4, 20 * rate * rate * epsilon_share))
    found = amplified(plan, attempts=2)
    assert found is not None
    assert found.over_cap == pytest.approx(rate * rate if cap == 1 else 0.0)
    if found.value is not None:
        assert exact_delta(rate, noise, cap, found.value) <= plan.delta * (1 + 1e-3) + 1e-9


def exact_delta(rate: float, noise: float, cap: int, epsilon: float) -> float:
    grid = np.linspace(-8 * noise, 8 * noise + 1, 1201)
    width = grid[1] - grid[0]
    out, there = norm.pdf(grid, 0, noise), norm.pdf(grid, 1, noise)
    second = (1 - rate) * out + rate * there
    with_it = (1 - rate) * np.outer(out, second) + rate * np.outer(there, out if cap == 1 else second)
    without = np.outer(out, out)
    gaps = (with_it - math.exp(epsilon) * without, without - math.exp(epsilon) * with_it)
    return float(max(np.clip(gap, 0, None).sum() for gap in gaps) * width * width)


def test_what_a_cap_takes_of_delta_is_the_chance_that_it_bites() -> None:
    free, capped = amplified(of_coins(cap=20), attempts=20), amplified(of_coins(cap=12), attempts=20)
    assert free is not None
    assert capped is not None
    assert capped.over_cap == pytest.approx(float(binom.sf(12, 20, 0.1)))
    assert free.value is not None
    assert capped.value is not None
    assert free.value < capped.value < 1.05 * free.value


def test_a_cap_that_bites_often_leaves_no_figure_and_says_why() -> None:
    found = amplified(of_coins(cap=3), attempts=20)
    assert found is not None
    assert found.value is None
    assert "Raise privacy.participations" in found.text
    assert found.as_json()["epsilon"] is None


def test_an_attempt_that_was_wasted_brings_everybody_nearer_to_the_cap() -> None:
    over = [amplified(of_coins(cap=12), attempts=20, wasted=wasted) for wasted in range(4)]
    chances = [each.over_cap for each in over if each is not None]
    assert len(chances) == 4
    assert all(one < other for one, other in pairwise(chances))


def test_an_attempt_that_many_clients_paid_for_in_vain_counts_once() -> None:
    plan = of_coins(0.1, cap=60, rounds=4)
    paid = entries(plan, [[7, 9]] * 4)
    wasted = [{**paid[2], "participants": [client], "client": client, "attempt": 1} for client in range(20)]
    assert possible_participations([*paid, *wasted]) == 5
    stated = privacy_statement(plan, [*paid, *wasted], system_noise=True)
    assert stated["participations"] == 5
    assert stated["amplified"]["over_cap"] == pytest.approx(float(binom.sf(4 - 1, 4, 0.1)))


def test_a_budget_may_leave_out_whoever_was_drawn_in_every_round_and_a_wasted_one() -> None:
    """A budget is only known to have room for the rounds: beyond them it acts as the cap does."""
    found = amplified(of_coins(0.5, cap=60, rounds=4), attempts=5, wasted=1)
    assert found is not None
    assert found.over_cap == pytest.approx(float(binom.sf(3, 5, 0.5)))
    assert found.value is None


def test_metrics_share_the_coin_of_their_round_and_popularity_has_none() -> None:
    plain = amplified(of_coins(noise_multiplier=1.0), attempts=20)
    louder = amplified(of_coins(noise_multiplier=1 / math.sqrt(1 + 1 / 36)), attempts=20)
    both = amplified(of_coins(noise_multiplier=1.0, metrics_noise=6.0), attempts=20)
    popular = amplified(
        of_coins(noise_multiplier=1.0, popularity=PopularityRelease(items=10, noise_multiplier=8.0)), attempts=20
    )
    assert plain is not None
    assert louder is not None
    assert both is not None
    assert popular is not None
    assert both.value == pytest.approx(louder.value, abs=1e-3)
    assert plain.value is not None
    assert popular.value is not None
    assert popular.value > plain.value


def entries(plan: PrivacyPlan, drawn: list[list[int]]) -> list[dict[str, Any]]:
    return [
        {
            **plan.event(plan.participation, kind="update"),
            "round": number,
            "token": f"t{number}",
            "guarantee": True,
            "participants": clients,
            "replies": {},
        }
        for number, clients in enumerate(drawn, start=1)
    ]


def test_what_a_release_states_does_not_tell_of_the_coins() -> None:
    plan = of_coins(0.002, cap=3, rounds=4)
    one = privacy_statement(plan, entries(plan, [[1], [1, 2], [1], []]), system_noise=True)
    other = privacy_statement(plan, entries(plan, [[], [], [7], []]), system_noise=True)
    assert one == other
    assert one["participations"] == 3
    assert one["epsilon"] > one["amplified"]["epsilon"]


def test_the_headline_stays_that_of_known_participations() -> None:
    plan = of_coins(0.1, cap=3, rounds=4)
    drawn = [[1], [1], [1], [1]]
    known = privacy_statement(
        replace(plan, cohort_rate=None), entries(replace(plan, cohort_rate=None), drawn[:3]), system_noise=True
    )
    assert privacy_statement(plan, entries(plan, drawn[:3]), system_noise=True)["epsilon"] == known["epsilon"]


def test_rounds_that_were_drawn_by_other_coins_have_no_figure() -> None:
    plan = of_coins(0.1)
    assert amplified_by(plan, entries(replace(plan, cohort_rate=0.2), [[1]]), secret=True) is None
    assert amplified_by(plan, entries(replace(plan, cohort_rate=None), [[1]]), secret=True) is None


def test_coins_that_a_seed_gives_are_worth_nothing() -> None:
    plan = of_coins(0.1)
    seeded = [event | {"guarantee": False} for event in entries(plan, [[1]])]
    assert amplified_by(plan, entries(plan, [[1]]), secret=True) is not None
    assert amplified_by(plan, entries(plan, [[1]]), secret=False) is None
    assert amplified_by(plan, seeded, secret=True) is None
    assert "amplified" not in privacy_statement(plan, seeded, system_noise=False)
