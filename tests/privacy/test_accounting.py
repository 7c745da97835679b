"""Golden values were measured with dp-accounting 0.6.0 at delta 1e-5 when the accountants were chosen.

Known participations are also held against the closed form of Balle and Wang 2018.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import ConfigError, VerificationError
from fedrec.privacy import accounting
from fedrec.privacy.accounting import (
    ACCOUNTANT,
    checked_epsilon,
    composed,
    epsilon_of,
    spending_by_client,
    worst_epsilon,
)
from fedrec.privacy.plan import GaussianSpend

DELTA = 1e-5


def spend(noise_multiplier, *, rate=1.0, steps=1):
    return GaussianSpend(noise_multiplier=noise_multiplier, sampling_rate=rate, steps=steps)


def analytic_epsilon(noise_multiplier, releases, delta):
    """Epsilon of `releases` Gaussians, exactly; Balle and Wang 2018, arXiv:1805.06530, theorem 8."""
    sigma = noise_multiplier / math.sqrt(releases)

    def below(x):
        return 0.5 * math.erfc(-x / math.sqrt(2))

    def delta_at(epsilon):
        shift = epsilon * sigma
        return below(1 / (2 * sigma) - shift) - math.exp(epsilon) * below(-1 / (2 * sigma) - shift)

    low, high = 0.0, 200.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(middle) > delta else (low, middle)
    return high


# Last digits as printed: a golden value is right to half a unit of its last place and a little more.
@pytest.mark.parametrize(
    ("rate", "noise", "rounds", "golden"),
    [
        (0.01, 0.5, 100, 6.48),
        (0.01, 1, 100, 0.72),
        (0.01, 1, 1000, 1.83),
        (0.01, 0.5, 1000, 13.4),
        (0.1, 1, 100, 7.05),
        (0.1, 2, 1000, 8.28),
        (0.5, 2, 100, 14.3),
        (1, 4, 100, 13.2),
        (1, 4, 1000, 64.2),
    ],
)
def test_epsilon_of_a_poisson_sampled_gaussian_is_the_golden_one(rate, noise, rounds, golden):
    unit = 0.01 if golden < 10 else 0.1
    found = epsilon_of(((spend(noise, rate=rate, steps=rounds), 1),), delta=DELTA)
    assert found == pytest.approx(golden, abs=0.75 * unit)


@pytest.mark.parametrize(
    ("releases", "noise", "golden"),
    [
        *((1, noise, golden) for noise, golden in ((1, 4.38), (2, 1.99), (4, 0.93), (8, 0.43))),
        *((4, noise, golden) for noise, golden in ((1, 10.0), (2, 4.38), (4, 1.99), (8, 0.93))),
        *((10, noise, golden) for noise, golden in ((1, 17.86), (2, 7.51), (4, 3.34), (8, 1.53))),
        *((30, noise, golden) for noise, golden in ((1, 37.6), (2, 14.8), (4, 6.33), (8, 2.84))),
    ],
)
def test_known_participations_cost_the_golden_epsilon(releases, noise, golden):
    unit = 0.01 if golden < 10 or golden == 17.86 else 0.1
    found = epsilon_of(((spend(noise), releases),), delta=DELTA)
    assert found == pytest.approx(golden, abs=0.75 * unit)
    assert found == pytest.approx(analytic_epsilon(noise, releases, DELTA), abs=1e-3)


@settings(max_examples=6, deadline=None)
@given(
    noise=st.floats(2, 20),
    releases=st.integers(1, 40),
    delta=st.sampled_from([1e-4, 1e-5, 1e-6, 1e-8]),
)
def test_known_participations_are_the_exact_gaussian(noise, releases, delta):
    assert epsilon_of(((spend(noise), releases),), delta=delta) == pytest.approx(
        analytic_epsilon(noise, releases, delta), rel=1e-4, abs=1e-3
    )


def test_steps_within_a_participation_count_like_participations():
    four_steps = epsilon_of(((spend(4, steps=4), 5),), delta=DELTA)
    assert four_steps == pytest.approx(analytic_epsilon(4, 20, DELTA), abs=1e-3)


@settings(max_examples=4, deadline=None)
@given(noise=st.floats(2, 6), rate=st.floats(0.01, 1), steps=st.integers(1, 20))
def test_epsilon_rises_with_rounds_and_falls_with_noise(noise, rate, steps):
    base = epsilon_of(((spend(noise, rate=rate, steps=steps), 1),), delta=DELTA)
    # Discretisation rounds each figure up by at most the grid.
    assert epsilon_of(((spend(noise, rate=rate, steps=steps + 20), 1),), delta=DELTA) >= base - 1e-4
    assert epsilon_of(((spend(noise * 1.5, rate=rate, steps=steps), 1),), delta=DELTA) <= base + 1e-4


@settings(max_examples=5, deadline=None)
@given(noise=st.floats(2, 6), rate=st.floats(0.02, 0.98), steps=st.integers(1, 20))
def test_secret_coins_never_cost_more_than_taking_everybody(noise, rate, steps):
    sampled = epsilon_of(((spend(noise, rate=rate, steps=steps), 1),), delta=DELTA)
    assert sampled <= analytic_epsilon(noise, steps, DELTA) + 1e-3


@pytest.mark.parametrize(
    "spending",
    [
        ((spend(1.0, rate=0.1, steps=100), 1),),
        ((spend(4.0), 10),),
        ((spend(8.0), 1),),
        ((spend(1.5, rate=0.2, steps=5), 3), (spend(3.0), 2)),
    ],
)
def test_two_libraries_agree_on_what_is_reported(spending):
    epsilon = checked_epsilon(spending, delta=DELTA)
    assert epsilon.value == epsilon_of(spending, delta=DELTA)
    assert epsilon.replace_one > epsilon.value


def test_a_disagreement_of_the_two_libraries_is_refused(monkeypatch):
    spending = ((spend(4.0), 10),)
    right = epsilon_of(spending, delta=DELTA)
    for wrong in (right + 0.1, right - 0.1, math.inf, math.nan):
        monkeypatch.setattr(accounting, "_prv_epsilon", lambda *_, wrong=wrong, **__: wrong)
        with pytest.raises(VerificationError, match="accountants disagree"):
            checked_epsilon(spending, delta=DELTA)
    monkeypatch.setattr(accounting, "_prv_epsilon", lambda *_, **__: right + 0.01)
    assert checked_epsilon(spending, delta=DELTA).value == right


def test_nothing_spent_costs_nothing():
    epsilon = checked_epsilon((), delta=DELTA)
    assert (epsilon.value, epsilon.replace_one) == (0, 0)
    assert worst_epsilon([], delta=DELTA) == 0


@pytest.mark.parametrize("noise", [2.0, 8.0])
def test_replacing_a_unit_of_a_full_batch_costs_as_half_the_noise(noise):
    spending = ((spend(noise), 4),)
    assert epsilon_of(spending, delta=DELTA, replace_one=True) == pytest.approx(
        analytic_epsilon(noise / 2, 4, DELTA), abs=1e-3
    )


@given(st.permutations([spend(1.0), spend(1.0), spend(2.0), spend(1.0, rate=0.5), spend(1.0, steps=3)]))
def test_the_order_of_spending_does_not_matter(order):
    grouped = composed(order)
    assert grouped == composed(sorted(order, key=repr))
    assert sum(count for _, count in grouped) == 5
    assert len(grouped) == 4


def event(participants, noise_multiplier=1.0):
    return {**spend(noise_multiplier).as_event(), "participants": participants, "guarantee": True}


def test_every_participation_of_every_client_is_counted():
    spendings = spending_by_client([event([1, 2]), event([2, 3], 2.0), event([2]), event([])])
    assert spendings == {
        1: ((spend(1.0), 1),),
        2: ((spend(1.0), 2), (spend(2.0), 1)),
        3: ((spend(2.0), 1),),
    }


def test_the_headline_is_the_client_that_spent_most():
    spendings = spending_by_client([event([1, 2], 2.0), event([2], 2.0), event([3], 4.0)])
    assert worst_epsilon(spendings.values(), delta=DELTA) == pytest.approx(analytic_epsilon(2, 2, DELTA), abs=1e-3)


@pytest.mark.parametrize("mechanism", ["laplace", "", None])
def test_an_unknown_mechanism_is_refused_rather_than_left_out(mechanism):
    strange = {**event([1]), "mechanism": mechanism}
    with pytest.raises(ConfigError, match="cannot account"):
        spending_by_client([event([1]), strange])


def test_the_accountants_versions_are_the_installed_ones():
    from importlib.metadata import version

    assert version("dp-accounting") in ACCOUNTANT
    assert version("opacus") in ACCOUNTANT
