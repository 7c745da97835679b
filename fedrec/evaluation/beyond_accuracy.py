"""What a list of recommendations is like, apart from being right.

Lists are (U, k) item rows; -1 pads a list that is shorter than k.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

HEAD_SHARE = 0.2


def top_items(scores: Array, k: int) -> npt.NDArray[np.int64]:
    """The rows (U, k) of the highest scores, best first; -1 where fewer than k are above minus infinity.

    >>> top_items(np.array([[0.2, 0.9, -np.inf, 0.5]]), 4)
    array([[ 1,  3,  0, -1]])
    """
    k = min(k, scores.shape[1])
    some = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(some, order, axis=1)
    return np.where(np.isfinite(np.take_along_axis(scores, best, axis=1)), best, -1)


def diversity(lists: Array, vectors: Array) -> Doubles:
    """1 minus the mean cosine of the pairs in each list; 0 for a list of one.

    vectors: (N, d). The sum over pairs is (|sum of units|^2 - number of units) / 2, so no pair is formed.
    Source: Ziegler et al. 2005 (intra-list similarity), doi:10.1145/1060745.1060754.
    """
    listed = np.where((lists >= 0)[..., None], vectors[lists], 0).astype(np.float64)
    norms = np.linalg.norm(listed, axis=2, keepdims=True)
    units = np.divide(listed, norms, out=np.zeros_like(listed), where=norms > 0)
    twice = (units.sum(axis=1) ** 2).sum(axis=1) - (units**2).sum(axis=(1, 2))
    length = (lists >= 0).sum(axis=1)
    return np.where(length > 1, 1 - twice / np.maximum(length * (length - 1), 1), 0.0)


def novelty(lists: Array, counts: Array) -> Doubles:
    """The mean self-information of each list in bits: -log2 of an item's share of the training interactions.

    counts: (N,). One is added to every count, so that an item never seen has a finite novelty.
    Source: Zhou et al. 2010, doi:10.1073/pnas.1000488107.
    """
    bits = -np.log2((counts + 1) / (counts + 1).sum())
    return _mean_over_list(lists, bits)


def long_tail_share(lists: Array, counts: Array) -> Doubles:
    """The share of each list that lies outside the head of the catalogue.

    The head is the most popular fifth of the items; items level with the last of them
    belong to it too, and items never seen do not.
    """
    return _mean_over_list(lists, ~_head(counts))


def coverage(recommended: Array) -> float:
    """The share of the catalogue that somebody was recommended; recommended: (N,) booleans."""
    if not len(recommended):
        raise DataError("The catalogue is empty, so nothing can be covered. Import a catalogue first.")
    return float(np.mean(recommended))


def _head(counts: Array) -> npt.NDArray[np.bool_]:
    size = max(1, round(HEAD_SHARE * len(counts)))
    least = np.partition(counts, -size)[-size]
    return np.asarray((counts >= least) & (counts > 0))


def _mean_over_list(lists: Array, per_item: Array) -> Doubles:
    kept = lists >= 0
    total = np.where(kept, per_item[lists], 0).sum(axis=1)
    return np.asarray(total / np.maximum(kept.sum(axis=1), 1), dtype=np.float64)
