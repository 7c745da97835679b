"""Spherical k-means: it ends where it must, the same every time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.ondevice.kmeans import group, more_centroids, unit_rows


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 100))
def test_k_means_ends_where_every_centroid_is_the_mean_of_what_is_nearest_to_it(size: int, k: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    units, weights = unit_rows(draw.normal(size=(size, 6)).astype(np.float32)), draw.random(size).astype(np.float32)
    start = more_centroids(units, weights + 0.1, units[:0], k=k, seed=seed)
    labels, centroids = group(units, weights + 0.1, start, frozen=np.zeros(len(start), dtype=bool))
    assert len(centroids) == min(k, size)
    near = units @ centroids.T
    assert (near[np.arange(size), labels] >= near.max(axis=1) - 1e-6).all()
    for label in np.unique(labels):
        mean = ((weights + 0.1)[labels == label] @ units[labels == label])[None]
        np.testing.assert_allclose(centroids[label], unit_rows(mean)[0], atol=1e-5)


def test_equal_entries_make_one_centroid() -> None:
    units = np.repeat(unit_rows(np.ones((1, 4), np.float32)), 5, axis=0)
    assert len(more_centroids(units, np.ones(5, np.float32), units[:0], k=4, seed=0)) == 1


def test_a_frozen_centroid_stays_and_still_takes_what_is_nearest_to_it() -> None:
    units = unit_rows(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    labels, centroids = group(units, np.ones(20, np.float32), units[:2], frozen=np.array([True, False]))
    np.testing.assert_array_equal(centroids[0], units[0])
    assert labels[0] == 0
    assert not np.array_equal(centroids[1], units[1])


def test_a_zero_row_has_no_direction() -> None:
    assert not unit_rows(np.zeros((2, 3), np.float32)).any()
