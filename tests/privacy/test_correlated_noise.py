import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedrec.errors import ConfigError
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.correlated_noise import BandedToeplitz, CorrelatedNoise, NoiseState, best_bands
from fedrec.privacy.randomness import seeded_source
from fedrec.privacy.spends import GaussianSpend

MANY = 100_000


def matrix(bands, rounds):
    """The encoder C, written out."""
    coefficients = BandedToeplitz(bands).coefficients
    encoder = np.zeros((rounds, rounds))
    for row, column in itertools.product(range(rounds), repeat=2):
        if 0 <= row - column < bands:
            encoder[row, column] = coefficients[row - column]
    return encoder


def patterns(rounds, participations, separation):
    """Every choice of at most so many rounds that lie far enough apart."""
    for count in range(1, participations + 1):
        for chosen in itertools.combinations(range(rounds), count):
            if all(later - earlier >= separation for earlier, later in itertools.pairwise(chosen)):
                yield chosen


def drawn(bands, rounds, *, size, noise_std=1.0, skipped=()):
    """(rounds, size) the noises of a run; skipped rounds are zero."""
    noise = CorrelatedNoise(encoder=BandedToeplitz(bands), noise_std=noise_std)
    source = seeded_source(0, "correlated", bands, rounds)
    state, rows = NoiseState(), []
    for number in range(rounds):
        if number in skipped:
            state = noise.skip(state, size=size)
            row = np.zeros(size)
        else:
            row, state = noise.draw(state, source, size=size)
        rows.append(row)
    return np.stack(rows)


def root_mean_square(values):
    return float(np.sqrt((values**2).mean()))


# The encoder.


def test_the_encoder_with_all_bands_squares_to_the_prefix_sums():
    root = matrix(12, 12)
    square = root @ root
    assert np.allclose(square / square[0, 0], np.tril(np.ones((12, 12))))


@given(bands=st.integers(1, 300))
def test_a_column_has_norm_one_whatever_the_bands(bands):
    coefficients = BandedToeplitz(bands).coefficients
    assert len(coefficients) == bands
    assert np.linalg.norm(coefficients) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("bands", [0, -3])
def test_no_band_at_all_is_refused(bands):
    with pytest.raises(ConfigError, match="bands"):
        BandedToeplitz(bands)


# Its sensitivity.


@given(rounds=st.integers(1, 9), participations=st.integers(1, 4), bands=st.integers(1, 5), slack=st.integers(0, 3))
def test_the_sensitivity_is_that_of_the_worst_pattern_of_all(rounds, participations, bands, slack):
    separation, encoder = bands + slack, matrix(bands, rounds)
    # No entry is negative, so that equal updates are the worst ones.
    worst = max(
        np.linalg.norm(encoder[:, chosen].sum(axis=1)) for chosen in patterns(rounds, participations, separation)
    )
    closed = BandedToeplitz(bands).sensitivity(rounds=rounds, participations=participations, separation=separation)
    assert closed == pytest.approx(worst, abs=1e-12)
    assert closed <= math.sqrt(participations) + 1e-12


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_no_updates_within_the_clip_norm_move_it_further(seed, bands):
    rng = np.random.default_rng(seed)
    updates = rng.standard_normal((9, 3))
    updates /= np.linalg.norm(updates, axis=1, keepdims=True)
    limit = BandedToeplitz(bands).sensitivity(rounds=9, participations=3, separation=bands)
    for chosen in patterns(9, 3, bands):
        moved = matrix(bands, 9)[:, chosen] @ updates[list(chosen)]
        assert np.linalg.norm(moved) <= limit + 1e-12


@given(bands=st.integers(1, 40), slack=st.integers(0, 20), participations=st.integers(1, 30))
def test_participations_that_fit_cost_as_many_gaussians(bands, slack, participations):
    separation = bands + slack
    exact = BandedToeplitz(bands).sensitivity(
        rounds=participations * separation, participations=participations, separation=separation
    )
    assert exact == pytest.approx(math.sqrt(participations))


def test_participations_closer_than_the_bands_are_refused_for_they_cost_more():
    close = matrix(4, 12)[:, [0, 3]].sum(axis=1)
    assert np.linalg.norm(close) > 1.05 * math.sqrt(2)
    with pytest.raises(ConfigError, match="Raise separation to 4"):
        BandedToeplitz(4).sensitivity(rounds=12, participations=2, separation=3)


# The error in the sum of the rounds.


@given(rounds=st.integers(1, 60), bands=st.integers(1, 70))
def test_the_prefix_error_is_the_norm_of_the_written_out_decoder(rounds, bands):
    decoder = np.tril(np.ones((rounds, rounds))) @ np.linalg.inv(matrix(bands, rounds))
    expected = np.linalg.norm(decoder) / math.sqrt(rounds)
    assert BandedToeplitz(bands).prefix_error(rounds) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rounds", [1, 2, 64, 1000])
def test_one_band_is_independent_noise(rounds):
    assert BandedToeplitz(1).prefix_error(rounds) == pytest.approx(math.sqrt((rounds + 1) / 2))
    noises = drawn(1, 3, size=50)
    assert np.array_equal(noises[0], seeded_source(0, "correlated", 1, 3).gaussian(50, noise_std=1.0))


@pytest.mark.parametrize(("rounds", "separation", "gain"), [(64, 16, 2.4), (1000, 10, 2.5), (1000, 100, 5.8)])
def test_banded_noise_has_a_lower_prefix_error_than_independent_noise_at_equal_privacy(rounds, separation, gain):
    # Equal epsilon, delta, participations and separation: the sensitivities agree, so do the noise multipliers.
    limits = {"rounds": rounds, "participations": math.ceil(rounds / separation), "separation": separation}
    banded, independent = BandedToeplitz(separation), BandedToeplitz(1)
    assert banded.sensitivity(**limits) <= independent.sensitivity(**limits) + 1e-12
    assert independent.prefix_error(rounds) > gain * banded.prefix_error(rounds)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_it_helps_a_server_with_momentum_too(momentum):
    lag = np.subtract.outer(np.arange(64), np.arange(64))
    weights = np.where(lag >= 0, (1 - momentum ** (np.maximum(lag, 0) + 1.0)) / (1 - momentum), 0)
    independent = np.linalg.norm(weights)
    assert independent > 2.4 * np.linalg.norm(weights @ np.linalg.inv(matrix(16, 64)))


def test_a_single_round_is_noisier_than_under_independent_noise():
    # What the docstring warns of: an optimizer that looks at single rounds is promised nothing.
    assert drawn(16, 64, size=2000)[-1].std() > 1.2


@given(rounds=st.integers(1, 40), separation=st.integers(1, 45))
def test_the_best_bands_have_the_lowest_error_that_the_separation_permits(rounds, separation):
    best = best_bands(rounds=rounds, separation=separation)
    assert 1 <= best <= separation
    errors = [BandedToeplitz(bands).prefix_error(rounds) for bands in range(1, separation + 1)]
    assert errors[best - 1] == min(errors)


# What is drawn.


@pytest.mark.parametrize(("rounds", "bands"), [(64, 16), (64, 1), (200, 50)])
def test_drawn_noise_has_the_prefix_error_that_is_computed(rounds, bands):
    sums = drawn(bands, rounds, size=2000, noise_std=3.0).cumsum(axis=0)
    assert root_mean_square(sums) == pytest.approx(3.0 * BandedToeplitz(bands).prefix_error(rounds), rel=0.03)


def test_drawn_noise_has_the_covariance_of_the_mechanism():
    noises = drawn(3, 8, size=MANY, noise_std=0.5)
    decoder = np.linalg.inv(matrix(3, 8))
    expected = 0.25 * decoder @ decoder.T
    assert np.abs(noises @ noises.T / MANY - expected).max() < 6 * expected.max() / math.sqrt(MANY)


def test_what_an_adversary_can_recover_is_independent_gaussian_noise():
    seen = matrix(4, 10) @ drawn(4, 10, size=MANY, noise_std=2.0)
    assert np.abs(seen @ seen.T / MANY - 4 * np.eye(10)).max() < 6 * 4 / math.sqrt(MANY)
    assert stats.kstest(seen.ravel(), "norm", args=(0, 2.0)).pvalue > 0.01


def test_errors_of_floating_point_do_not_grow_over_the_rounds():
    noises = drawn(64, 3000, size=20)
    seen = np.apply_along_axis(np.convolve, 0, noises, BandedToeplitz(64).coefficients)[:3000]
    source = seeded_source(0, "correlated", 64, 3000)
    fresh = np.stack([source.gaussian(20, noise_std=1.0) for _ in range(3000)])
    assert np.abs(seen - fresh).max() < 1e-12


def test_drawing_leaves_the_state_as_it_was():
    noise = CorrelatedNoise(encoder=BandedToeplitz(3), noise_std=1.0)
    _, state = noise.draw(NoiseState(), seeded_source(1), size=5)
    before = [row.copy() for row in state.rows]
    first, _ = noise.draw(state, seeded_source(2), size=5)
    again, after = noise.draw(state, seeded_source(2), size=5)
    assert state.round == 1 and np.array_equal(state.rows, before)
    assert after.round == 2 and np.array_equal(first, again)


def test_the_state_holds_one_row_less_than_the_bands():
    noise = CorrelatedNoise(encoder=BandedToeplitz(4), noise_std=1.0)
    state, kept = NoiseState(), []
    for _ in range(6):
        row, state = noise.draw(state, seeded_source(0, state.round), size=2)
        kept.append(len(state.rows))
        assert np.array_equal(state.rows[0], row)
    assert kept == [1, 2, 3, 3, 3, 3]


def test_the_text_of_a_state_does_not_show_the_noise():
    _, state = CorrelatedNoise(encoder=BandedToeplitz(2), noise_std=1.0).draw(NoiseState(), seeded_source(0), size=3)
    assert repr(state) == "NoiseState(round=1)"


@pytest.mark.parametrize(("bands", "size"), [(2, 5), (4, 5), (3, 6)])
def test_a_state_of_other_bands_or_size_is_refused(bands, size):
    state = NoiseState()
    for _ in range(4):
        _, state = CorrelatedNoise(encoder=BandedToeplitz(3), noise_std=1.0).draw(state, seeded_source(0), size=5)
    other = CorrelatedNoise(encoder=BandedToeplitz(bands), noise_std=1.0)
    with pytest.raises(ConfigError, match="the run began with"):
        other.draw(state, seeded_source(0), size=size)
    with pytest.raises(ConfigError, match="the run began with"):
        other.skip(state, size=size)


# Rounds that release nothing.

SKIPPED = (2, 5, 6)


def test_around_skipped_rounds_the_adversary_still_recovers_independent_noise_alone():
    seen = matrix(4, 10) @ drawn(4, 10, size=MANY, skipped=SKIPPED)
    released = np.delete(seen, SKIPPED, axis=0)
    assert np.abs(released @ released.T / MANY - np.eye(7)).max() < 6 / math.sqrt(MANY)


def test_a_skipped_round_shows_only_what_earlier_releases_showed():
    encoder, noises = matrix(4, 10), drawn(4, 10, size=20, skipped=SKIPPED)
    for number in SKIPPED:
        assert np.allclose(encoder[number] @ noises, encoder[number, :number] @ noises[:number])


def test_a_skipped_round_costs_less_accuracy_than_noise_that_is_drawn_and_not_released():
    skipped = drawn(16, 64, size=2000, skipped=(5, 20, 40))
    unreleased = drawn(16, 64, size=2000)
    unreleased[[5, 20, 40]] = 0
    assert root_mean_square(skipped.cumsum(axis=0)) < 0.9 * root_mean_square(unreleased.cumsum(axis=0))


def test_a_skipped_round_counts_so_that_separations_stay_what_clients_count():
    noise = CorrelatedNoise(encoder=BandedToeplitz(3), noise_std=1.0)
    assert noise.skip(NoiseState(), size=2).round == 1


# The whole claim, by the accountant: a likelihood ratio of all releases of a run.


def test_an_attack_on_all_releases_finds_no_more_than_the_accountant_permits():
    bands, rounds, sigma, delta = 4, 12, 2.0, 1e-2
    present = [0, 4, 8]
    signal = matrix(bands, rounds)[:, present].sum(axis=1)
    noises = drawn(bands, rounds, size=MANY, noise_std=sigma)
    # The most powerful test of "took part with a full update" against "did not" (Neyman and Pearson).
    score = signal @ (matrix(bands, rounds) @ noises)
    shift = np.linalg.norm(signal) ** 2
    epsilon = epsilon_of(((GaussianSpend(noise_multiplier=sigma, sampling_rate=1, steps=1), 3),), delta=delta)
    thresholds = np.quantile(score, [0.5, 0.9, 0.99])
    for threshold in thresholds:
        caught, false = (score + shift > threshold).mean(), (score > threshold).mean()
        assert caught <= math.exp(epsilon) * false + delta + 0.01
    # And no less: the same separation as one Gaussian of sigma / sqrt(3).
    assert shift / score.std() == pytest.approx(math.sqrt(3) / sigma, rel=0.01)
