from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from fedrec.errors import ConfigError
from fedrec.privacy.randomness import seeded_source
from fedrec.secagg.skellam import (
    MOST_VARIANCE,
    largest_sample,
    skellam,
    thresholds,
    total_variation,
)

MANY = 400_000


def _tails(variance: int) -> list[Fraction]:
    """Pr[|K| > j] for j from 0, from the power series of the Bessel functions, summed until nothing is left."""
    half, terms = Fraction(variance, 2), 80 + 6 * variance
    bessel = [sum(half ** (2 * m + k) / (factorial(m) * factorial(m + k)) for m in range(terms)) for k in range(terms)]
    whole = bessel[0] + 2 * sum(bessel[1:])
    return [2 * sum(bessel[k + 1 :]) / whole for k in range(terms)]


@pytest.mark.parametrize("variance", [1, 2, 7])
def test_thresholds_are_the_exact_probabilities_to_two_units_of_the_last_bit(variance: int) -> None:
    found = thresholds(variance)[::-1]
    exact = _tails(variance)
    assert all(0 <= exact[j] * 2**128 - threshold < 2 for j, threshold in enumerate(found))
    assert exact[len(found)] * 2**128 < 2


@pytest.mark.parametrize("variance", [300, 10**6, 2**28])
def test_thresholds_step_by_the_probabilities_of_the_distribution(variance: int) -> None:
    found = thresholds(variance)[::-1]
    places = [1, *(int(share * variance**0.5) for share in (0.5, 1, 2, 4, 6))]
    steps = [(found[j - 1] - found[j]) / 2**129 for j in places]
    # scipy answers up to about 1e9 only, and loses four digits there.
    assert steps == pytest.approx([special.ive(j, variance) for j in places], rel=1e-8)


def test_thresholds_rise_and_the_last_leaves_out_zero_alone() -> None:
    found = thresholds(50)
    assert found == sorted(found) and len(set(found)) == len(found)
    assert 1 - found[-1] / 2**128 == pytest.approx(special.ive(0, 50))


@given(st.integers(1, 3000), st.integers(1, 80))
def test_sampling_counts_the_thresholds_over_each_draw(variance: int, size: int) -> None:
    drawn = skellam(variance).sample(size, source=seeded_source(variance, "noise"))
    source = seeded_source(variance, "noise")
    high, low, signs = source.words(size), source.words(size), source.words(-(-size // 64)).view(np.uint8)
    draws = [(int(upper) << 64) + int(lower) for upper, lower in zip(high, low, strict=True)]
    magnitudes = [sum(threshold > draw for threshold in thresholds(variance)) for draw in draws]
    positive = np.unpackbits(signs)[:size]
    assert drawn.tolist() == [
        magnitude if sign else -magnitude for magnitude, sign in zip(magnitudes, positive, strict=True)
    ]


@given(st.integers(1, 500), st.data())
def test_a_draw_that_128_bits_do_not_decide_is_decided_by_more(variance: int, data: st.DataObject) -> None:
    coarse, fine = thresholds(variance), thresholds(variance, bits=384)
    draw = max(0, data.draw(st.sampled_from([0, *coarse])) + data.draw(st.integers(-1, 2)))
    found = skellam(variance).magnitude(draw, source=seeded_source(variance, draw))
    more = int.from_bytes(seeded_source(variance, draw).words(4).tobytes(), "little")
    assert found == sum(threshold > (draw << 256) + more for threshold in fine)


@pytest.mark.parametrize("variance", [1, 77, 10**5])
def test_coarse_thresholds_are_the_fine_ones_rounded_down_by_less_than_two(variance: int) -> None:
    coarse, fine = thresholds(variance), thresholds(variance, bits=384)
    assert all(0 <= (exact >> 256) - near < 2 for near, exact in zip(coarse[::-1], fine[::-1], strict=False))
    assert fine[len(fine) - len(coarse) - 1] >> 256 < 2


def test_equal_high_halves_are_told_apart_by_the_low_ones() -> None:
    table = skellam(10**6)
    rising = thresholds(10**6)
    far = [draw for draw in (2**40, 2**60 + 12345, 2**63) if all(not 0 <= draw - each < 2 for each in rising)]
    for draw in far:
        source = seeded_source(0)
        assert table.magnitude(draw, source=source) == sum(each > draw for each in rising)


@pytest.mark.parametrize("variance", [1, 40, 10**6])
def test_samples_have_the_distribution_that_was_asked_for(variance: int) -> None:
    drawn = skellam(variance).sample(MANY, source=seeded_source(3, variance))
    assert drawn.var() == pytest.approx(variance, rel=0.02)
    assert drawn.mean() == pytest.approx(0, abs=4 * (variance / MANY) ** 0.5)
    reach = int(3 * variance**0.5) + 1
    edges = np.unique(np.linspace(-reach, reach, 40).astype(int))
    expected = np.diff(stats.skellam.cdf(edges, variance / 2, variance / 2)) * MANY
    found = np.histogram(drawn, bins=edges + 0.5)[0]
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 0.001


def test_a_sum_of_shares_is_skellam_of_the_summed_variance() -> None:
    shares = [skellam(30).sample(MANY // 4, source=seeded_source(5, client)) for client in range(4)]
    total = np.sum(shares, axis=0)
    counts = np.array([(total == k).sum() for k in range(-25, 26)])
    expected = stats.skellam.pmf(np.arange(-25, 26), 60, 60) * len(total)
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 0.001


def test_no_sample_passes_the_largest_and_no_table_the_stated_reach() -> None:
    for variance in (1, 10, 1000):
        table = skellam(variance)
        assert np.abs(table.sample(MANY, source=seeded_source(1))).max() <= table.largest <= largest_sample(variance)


def test_the_error_of_a_whole_run_is_far_under_any_delta() -> None:
    assert total_variation(2**20) * 100_000 * 1_000 * 1_000 < 1e-90


def test_no_variance_is_no_noise() -> None:
    table = skellam(0)
    assert not table.sample(10, source=seeded_source(0)).any()
    assert table.largest == largest_sample(0) == 0


@pytest.mark.parametrize("variance", [-1, MOST_VARIANCE + 1])
def test_a_variance_without_a_table_is_refused(variance: int) -> None:
    with pytest.raises(ConfigError, match="coarser grid"):
        skellam(variance)
