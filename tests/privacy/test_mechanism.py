import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.errors import UnsafeUpdateError
from fedrec.privacy.mechanism import clip_update, noised_sum
from fedrec.privacy.randomness import seeded_source, system_source

UPDATES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e12, 1e12))
NORMS = st.floats(1e-6, 1e6)


@given(UPDATES, NORMS)
def test_clipping_bounds_the_norm(update, clip_norm):
    assert np.linalg.norm(clip_update(update, clip_norm=clip_norm)) <= clip_norm * (1 + 1e-12)


@given(UPDATES, NORMS)
def test_clipping_is_idempotent(update, clip_norm):
    once = clip_update(update, clip_norm=clip_norm)
    assert clip_update(once, clip_norm=clip_norm) == pytest.approx(once, rel=1e-12)


@given(UPDATES, NORMS)
def test_clipping_keeps_the_direction_and_what_is_short_enough(update, clip_norm):
    clipped = clip_update(update, clip_norm=clip_norm)
    assert float(clipped @ update) >= 0
    if np.linalg.norm(update) <= clip_norm:
        assert np.array_equal(clipped, update)


def test_rows_are_clipped_each():
    rows = clip_update(np.array([[3.0, 4.0], [0.3, 0.4]]), clip_norm=1.0)
    assert rows == pytest.approx(np.array([[0.6, 0.8], [0.3, 0.4]]))


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(entry):
    with pytest.raises(UnsafeUpdateError):
        clip_update(np.array([1.0, entry]), clip_norm=1.0)


def test_a_sum_is_noised_by_its_source():
    total = np.arange(5.0)
    noise = seeded_source(1).gaussian(5, noise_std=3.0)
    assert np.array_equal(noised_sum(total, noise_std=3.0, source=seeded_source(1)), total + noise)


def test_two_sums_never_share_noise():
    one, other = (noised_sum(np.zeros(100), noise_std=1.0, source=system_source()) for _ in range(2))
    assert not (one == other).any()
