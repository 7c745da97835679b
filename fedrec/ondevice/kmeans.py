"""Spherical k-means in numpy: groups of directions, from given centroids on, the same every time."""

import numpy as np

from fedrec.data.sequences import Bools, Floats, Ints

_ROUNDS = 30
_TINY = 1e-6


def unit_rows(vectors: Floats) -> Floats:
    """The rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return units


def more_centroids(units: Floats, weights: Floats, start: Floats, *, k: int, seed: int) -> Floats:
    """(at most k, d): `start` (S, d), then entries drawn far from what is there.

    units: (L, d) of length 1. weights: (L,), above 0. Fewer than k where fewer directions differ.
    Source: Arthur and Vassilvitskii 2007, k-means++.
    """
    generator = np.random.default_rng(seed)
    chosen = start
    nearest = (units @ start.T).max(axis=1) if len(start) else np.zeros(len(units), dtype=np.float32)
    while len(chosen) < k:
        far = np.where(nearest < 1 - _TINY, (1 - nearest) * weights, 0.0).astype(np.float64)
        if not far.sum() > 0:
            break
        place = int(generator.choice(len(units), p=far / far.sum()))
        chosen = np.concatenate([chosen, units[place : place + 1]])
        nearest = np.maximum(nearest, units @ units[place])
    return chosen


def group(units: Floats, weights: Floats, start: Floats, *, frozen: Bools) -> tuple[Ints, Floats]:
    """(L,) the nearest centroid of each entry, and (k, d) the centroids, once they rest.

    frozen: (k,) centroids that stay where they are. One that nothing is nearest to stays too.
    """
    centroids = start.copy()
    labels = (units @ centroids.T).argmax(axis=1)
    for _ in range(_ROUNDS):
        for label in np.flatnonzero(~frozen):
            mine = labels == label
            total = weights[mine] @ units[mine]
            length = float(np.linalg.norm(total))
            if length > 0:
                centroids[label] = total / length
        moved = (units @ centroids.T).argmax(axis=1)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels, centroids
