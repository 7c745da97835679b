"""Histories as decayed sums of item vectors: the user side of the score, in numpy alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Floats, History, Ints

USUAL_RATING = 3.5
# A mean of few ratings is pulled towards the usual one as if these had come before.
PRIOR_RATINGS = 3.0


def decay_weights(entry_weights: Floats, positions: Ints, *, decays: Sequence[float]) -> Floats:
    """How much each entry counts in each decayed sum, seen from each position.

    entry_weights: (L,) in time order. positions: (P,), each from 0 to L: how many entries
    have happened. Returns (P, K, L): weight times decay ** age, 0 for what is still to come.

    >>> decay_weights(np.ones(3, np.float32), np.array([2]), decays=(0.0, 0.5)).tolist()
    [[[0.0, 1.0, 0.0], [0.5, 1.0, 0.0]]]
    """
    # An entry that says nothing about the taste must not age the ones that do.
    said = np.cumsum(entry_weights > 0)
    seen = np.concatenate([[0], said])[positions]
    age = seen[:, None] - said[None, :]
    past = np.arange(len(entry_weights))[None, :] < positions[:, None]
    base = np.asarray(decays, dtype=np.float32)[None, :, None]
    powers = base ** np.maximum(age, 0)[:, None, :].astype(np.float32)
    counted: Floats = (powers * past[:, None, :] * entry_weights[None, None, :]).astype(np.float32)
    return counted


def history_sums(history: History, positions: Ints, vectors: npt.ArrayLike, *, decays: Sequence[float]) -> Floats:
    """(P, K, d) decayed sums of the history's vectors before each position.

    vectors: (N + T, d), the item index with the query texts' vectors below it.
    """
    table = np.asarray(vectors)
    sums: Floats = (decay_weights(history.weights, positions, decays=decays) @ table[history.rows]).astype(np.float32)
    return sums


def usual_ratings(history: History) -> Floats:
    """(L + 1,) the person's mean rating before each position, pulled towards the usual one."""
    known = ~np.isnan(history.ratings)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, history.ratings, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    pulled: Floats = ((total + PRIOR_RATINGS * USUAL_RATING) / (count + PRIOR_RATINGS)).astype(np.float32)
    return pulled
