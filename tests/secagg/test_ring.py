import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedrec.errors import ConfigError, UnsafeUpdateError
from fedrec.privacy.randomness import RandomSource, seeded_source
from fedrec.privacy.skellam import rounded_norm_squared, share_variance
from fedrec.secagg.ring import Ring, ring_for
from fedrec.secagg.skellam import MOST_VARIANCE, skellam

_CLIP = 0.5


class _Up(RandomSource):
    """Rounds everything up, in a test of what happens when chance never helps."""

    def uniform(self, size: int) -> np.ndarray:
        return np.zeros(size)


@given(
    st.integers(1, 3000),
    st.integers(1, 300_000),
    st.floats(0.3, 16),
    st.floats(0.3, 1),
)
def test_no_sum_of_a_cohort_can_wrap(clients: int, size: int, noise: float, honest: float) -> None:
    least = max(1, int(honest * clients))
    ring = ring_for(clients, clip_norm=_CLIP, size=size, noise_multiplier=noise, least_honest=least)
    variance = share_variance(ring.steps, noise_multiplier=noise, least_honest=least)
    most = clients * (int(ring.norm_squared**0.5) + skellam(variance).largest) if variance < 2**20 else 0
    assert 16 <= ring.bits <= 32 and variance <= MOST_VARIANCE
    assert most < 2 ** (ring.bits - 1)


@given(st.integers(16, 32), st.data())
def test_words_hold_every_number_of_either_sign(bits: int, data: st.DataObject) -> None:
    ring = Ring(bits=bits, steps=1024, clip_norm=_CLIP, size=10)
    half = 2 ** (bits - 1)
    values = np.array(data.draw(st.lists(st.integers(-half, half - 1), max_size=10)), dtype=np.int64)
    words = ring.to_words(values)
    assert words.dtype == (np.uint16 if bits == 16 else np.uint32)
    assert ring.from_words(words).tolist() == values.tolist()
    assert ring.decode(words).tolist() == (values * _CLIP / 1024).tolist()


@given(st.integers(0, 2**32), st.integers(1, 400), st.floats(1e-3, 1e3), st.sampled_from([256, 4096, 65536]))
def test_an_encoded_update_keeps_the_norm_that_is_accounted(seed: int, size: int, length: float, steps: int) -> None:
    ring = Ring(bits=32, steps=steps, clip_norm=_CLIP, size=size)
    update = np.random.default_rng(seed).normal(size=size) * length
    encoded = ring.encode(update, source=seeded_source(seed))
    assert int(encoded @ encoded) <= ring.norm_squared


def test_an_update_that_no_rounding_keeps_is_rounded_towards_zero() -> None:
    ring = Ring(bits=32, steps=256, clip_norm=1.0, size=200_000)
    # Everything a little over a half: rounded up, it is far too long.
    update = np.full(200_000, 1.0) / 200_000**0.5
    encoded = ring.encode(update, source=_Up(bytes(32), guarantee=False))
    assert not encoded.any()
    assert ring.norm_squared < 200_000


def test_rounding_has_the_right_mean() -> None:
    ring = Ring(bits=32, steps=256, clip_norm=1.0, size=50)
    update = np.random.default_rng(4).normal(size=50) / 20
    draws = np.stack([ring.encode(update, source=seeded_source(4, draw)) for draw in range(4000)])
    assert draws.mean(axis=0) / ring.scale == pytest.approx(update, abs=5 * 0.5 / ring.scale / 4000**0.5)


def test_a_long_update_is_clipped_and_a_short_one_is_not() -> None:
    ring = Ring(bits=32, steps=65536, clip_norm=_CLIP, size=100)
    short, long = np.full(100, 0.01), np.full(100, 3.0)
    near = 2 / ring.scale
    assert ring.decode(ring.to_words(ring.encode(short, source=seeded_source(1)))) == pytest.approx(short, abs=near)
    clipped = ring.decode(ring.to_words(ring.encode(long, source=seeded_source(1))))
    assert clipped == pytest.approx(np.full(100, 0.05), abs=near)


@pytest.mark.parametrize("update", [np.zeros(11), np.full(3, np.nan), np.zeros((2, 2))])
def test_what_does_not_fit_the_grid_is_refused(update: np.ndarray) -> None:
    with pytest.raises(UnsafeUpdateError):
        Ring(bits=32, steps=256, clip_norm=1.0, size=10).encode(update, source=seeded_source(1))


@pytest.mark.parametrize("size", [24_576, 100_000, 2**18])
def test_the_usual_grid_is_fine_and_lengthens_next_to_nothing(size: int) -> None:
    for clients, least, noise in ((10, 7, 1.0), (10, 7, 4.0), (1000, 600, 1.0), (1000, 600, 4.0)):
        ring = ring_for(clients, clip_norm=_CLIP, size=size, noise_multiplier=noise, least_honest=least)
        assert 2**14 <= ring.steps <= 2**16 and ring.bits <= 32
        assert ring.norm_squared**0.5 < 1.0002 * ring.steps


def test_sixteen_bits_are_taken_where_they_suffice() -> None:
    small = ring_for(5, clip_norm=_CLIP, size=100, noise_multiplier=0.3, least_honest=4)
    assert small.bits == 16 and small.norm_squared**0.5 < 1.001 * small.steps
    assert ring_for(5, clip_norm=_CLIP, size=26_000, noise_multiplier=0.3, least_honest=4).bits > 16


def test_noise_that_no_grid_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a smaller noise multiplier, a larger epsilon"):
        ring_for(4, clip_norm=_CLIP, size=100, noise_multiplier=1000.0, least_honest=3)


def test_a_rounding_is_accounted_at_the_bound_of_its_source() -> None:
    for size in (1, 999, 26_000):
        exact = 2**32 + size / 4 + 2**16 + size**0.5 / 2
        assert exact <= rounded_norm_squared(2**16, size=size) <= exact + 3


@pytest.mark.parametrize(("clients", "noise"), [(10, 1.0), (40, 4.0)])
def test_the_decoded_noise_of_a_cohort_is_what_was_planned(clients: int, noise: float) -> None:
    least, size = int(0.7 * clients), 40_000
    ring = ring_for(clients, clip_norm=_CLIP, size=size, noise_multiplier=noise, least_honest=least)
    variance = share_variance(ring.steps, noise_multiplier=noise, least_honest=least)
    total = np.zeros(size, dtype=np.uint32)
    for client in range(least):
        source = seeded_source(9, client)
        total += ring.to_words(
            ring.encode(np.zeros(size), source=source) + skellam(variance).sample(size, source=source)
        )
    found = ring.decode(total & np.uint32(2**ring.bits - 1))
    assert found.std() == pytest.approx(noise * _CLIP, rel=0.02)
    assert stats.kstest(found, "norm", args=(0, noise * _CLIP)).pvalue > 0.001
    assert ring.is_plausible(total & np.uint32(2**ring.bits - 1), clients=clients, variance=variance)


def test_a_sum_that_no_honest_cohort_gives_is_not_plausible() -> None:
    ring = ring_for(10, clip_norm=_CLIP, size=1000, noise_multiplier=1.0, least_honest=7)
    garbage = np.random.default_rng(0).integers(0, 2**ring.bits, 1000).astype(np.uint32)
    assert not ring.is_plausible(garbage, clients=10, variance=share_variance(
        ring.steps, noise_multiplier=1.0, least_honest=7
    ))  # fmt: skip
