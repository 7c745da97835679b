import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedrec.privacy.randomness import RandomSource, noise_source, seeded_source, system_source

MANY = 200_000


def test_gaussian_draws_are_normal():
    drawn = seeded_source(0, "normality").gaussian(MANY, noise_std=3.0)
    assert stats.kstest(drawn, "norm", args=(0, 3.0)).pvalue > 0.01
    assert abs(stats.skew(drawn)) < 0.02
    assert abs(stats.kurtosis(drawn)) < 0.05


def test_the_tails_of_the_noise_are_there():
    drawn = seeded_source(0, "tails").gaussian(1_000_000, noise_std=1.0)
    beyond = (np.abs(drawn) > 4).mean()
    assert beyond == pytest.approx(stats.norm.sf(4) * 2, rel=0.3)


@pytest.mark.parametrize("noise_std", [1e-6, 0.5, 1.0, 4e3])
def test_the_standard_deviation_is_what_was_asked_for(noise_std):
    drawn = seeded_source(0, "std", noise_std).gaussian(MANY, noise_std=noise_std)
    assert drawn.std() == pytest.approx(noise_std, rel=0.02)
    assert drawn.mean() == pytest.approx(0, abs=0.02 * noise_std)


def test_the_two_halves_of_a_draw_are_uncorrelated():
    # Box and Muller make both halves from the same radii.
    drawn = seeded_source(0, "halves").gaussian(MANY, noise_std=1.0)
    first, second = drawn[: MANY // 2], drawn[MANY // 2 :]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 0.01


@given(size=st.integers(0, 9))
def test_as_many_numbers_come_as_were_asked_for(size):
    source = seeded_source(0)
    assert len(source.uniform(size)) == len(source.gaussian(size, noise_std=1.0)) == size


def test_uniform_draws_never_touch_the_ends():
    drawn = seeded_source(0, "uniform").uniform(MANY)
    assert drawn.min() > 0 and drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 0.01


@pytest.mark.parametrize("probability", [0.0, 0.03, 0.5, 1.0])
def test_coins_show_heads_at_their_rate(probability):
    heads = seeded_source(0, "coins").coins(MANY, probability=probability).mean()
    assert heads == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / MANY))


def test_the_same_seed_and_labels_give_the_same_stream():
    one, other = (seeded_source(7, "client", 3, "round", 2).uniform(50) for _ in range(2))
    assert np.array_equal(one, other)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=2, unique=True))
def test_distinct_labels_give_distinct_streams(labels):
    firsts = [seeded_source(*each).uniform(2).tobytes() for each in labels]
    assert len(set(firsts)) == len(firsts)


def test_labels_do_not_run_into_one_another():
    assert seeded_source(1, 1, 11).uniform(1) != seeded_source(1, 11, 1).uniform(1)


def test_a_stream_goes_on_and_never_repeats():
    source = seeded_source(0)
    drawn = np.concatenate([source.uniform(1000) for _ in range(5)])
    assert len(np.unique(drawn)) == len(drawn)


def test_no_two_sources_of_the_operating_system_are_alike():
    firsts = {system_source().uniform(1)[0] for _ in range(100)}
    assert len(firsts) == 100


def test_only_the_operating_system_gives_a_guarantee():
    assert noise_source("system", 1, "client").guarantee
    assert not noise_source("seeded", 1, "client").guarantee


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="32 bytes"):
        RandomSource(bytes(length), guarantee=True)
