"""The first list of a person of whom nothing is known: liked by many, and of many kinds.

It reads the public index and the release's own prior alone, so that it says nothing about
anybody that the release did not say already.
"""

import numpy as np

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.model.linear import Index
from fedrec.ondevice.scoring import best_rows

POOL = 256
# What being liked by many is worth beside what an item adds to the list's reach. On ml-latest-small the ten
# items chosen so hold as many that a stranger chose as the ten most popular (4.26 to 4.23), more strangers find
# at least one (.88 to .85), and what they chose is nearer to the list (cosine .20 to .19).
_LIKED = 0.1


def opening(index: Index, scores: Floats, allowed: Bools, *, length: int) -> Ints:
    """(M,) rows in the order of an opening list; its first `length` reach far, the rest are by score.

    scores: (N,) the prior, and what else is known. M is the pool's size, or `length` where that
    is more, and fewer where fewer are allowed. Deterministic.
    """
    pool = _pool(scores, allowed, most=POOL)
    if not len(pool):
        return pool
    units = _units(index.vectors(pool))
    near = np.maximum(units @ units.T, 0)
    # A score is a log-odds: this is how often each is what a stranger wants, next to the best.
    liked = np.exp(scores[pool] - scores[pool].max()).astype(np.float32)
    picked = pool[_reaching(near, liked, length=min(length, len(pool)))]
    return np.concatenate([picked, _others(scores, allowed, pool, picked, most=max(POOL, length))])


def _pool(scores: Floats, allowed: Bools, *, most: int) -> Ints:
    """The best items; where all are level, items from everywhere in the catalogue."""
    (rows,) = np.nonzero(allowed)
    if len(rows) and scores[rows].max() == scores[rows].min():
        even: Ints = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
        return even
    return best_rows(scores, allowed, most=most)


def _others(scores: Floats, allowed: Bools, pool: Ints, picked: Ints, *, most: int) -> Ints:
    """What follows the chosen ones: the rest of the pool, and then of the catalogue, each by score."""
    left = allowed.copy()
    left[pool] = False
    rest = pool[~np.isin(pool, picked)]
    return np.concatenate([rest, best_rows(scores, left, most=most - len(pool))]) if most > len(pool) else rest


def _reaching(near: Floats, liked: Floats, *, length: int) -> Ints:
    """Greedy choice of what is nearest to most of what is liked: facility location over the pool.

    near: (M, M) similarity, at least 0. liked: (M,) at least 0, and 1 at most.
    """
    weights = liked / liked.sum()
    reached = np.zeros(len(near), dtype=np.float32)
    free = np.ones(len(near), dtype=np.bool_)
    picked: list[int] = []
    for _ in range(length):
        gain = np.maximum(near - reached, 0) @ weights + np.float32(_LIKED) * liked
        place = int(np.where(free, gain, -1.0).argmax())
        picked.append(place)
        free[place] = False
        reached = np.maximum(reached, near[place])
    return np.array(picked, dtype=np.int64)


def _units(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return units
