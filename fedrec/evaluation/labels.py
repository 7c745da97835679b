"""Metrics of the other heads: AUC and F1 of intent, RMSE of ratings, resampled by user.

Entries of one user stand or fall together, so whole users are drawn anew, never entries.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError
from fedrec.evaluation.metrics import Estimate, draw_counts, interval

Array = npt.NDArray[Any]


def auc(scores: Array, labels: Array, users: Array, *, seed: int, resamples: int = 1000) -> Estimate:
    """The chance that a random positive scores above a random negative; ties count half.

    scores, labels (0 or 1), users: (E,). Raises DataError unless both labels occur.
    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    distinct, level = np.unique(scores, return_inverse=True)
    size = len(distinct)

    def weighted(weights: Array) -> float:
        positive = np.bincount(level, weights * labels, minlength=size)
        negative = np.bincount(level, weights * (1 - labels), minlength=size)
        below = np.cumsum(negative) - negative / 2
        return _ratio(float(positive @ below), float(positive.sum() * negative.sum()))

    return _by_user(weighted, users, "AUC needs both labels", seed=seed, resamples=resamples)


def f1(
    scores: Array, labels: Array, users: Array, *, seed: int, threshold: float = 0.5, resamples: int = 1000
) -> Estimate:
    """2 TP / (2 TP + FP + FN) when scores of at least `threshold` are taken as yes; all arrays (E,).

    Raises DataError when nothing is positive and nothing is predicted to be.
    """
    taken = np.asarray(scores) >= threshold

    def weighted(weights: Array) -> float:
        return _ratio(2 * float(weights @ (taken * labels)), float(weights @ (taken + labels)))

    return _by_user(weighted, users, "F1 needs a positive", seed=seed, resamples=resamples)


def rmse(predicted: Array, ratings: Array, users: Array, *, seed: int, resamples: int = 1000) -> Estimate:
    """The root of the mean squared error over all entries; all arrays (E,)."""
    squares = np.subtract(predicted, ratings, dtype=np.float64) ** 2

    def weighted(weights: Array) -> float:
        return float(np.sqrt(_ratio(float(weights @ squares), float(weights.sum()))))

    return _by_user(weighted, users, "RMSE needs a rating", seed=seed, resamples=resamples)


def _by_user(statistic: Callable[[Array], float], users: Array, need: str, *, seed: int, resamples: int) -> Estimate:
    """`statistic` of entry weights (E,): all ones for the value, a user's draws for the interval."""
    distinct, group = np.unique(users, return_inverse=True)
    value = statistic(np.ones(len(group))) if len(group) else float("nan")
    if not np.isfinite(value):
        raise DataError(f"{need} among the {len(group)} labelled entries. Leave this metric out, or label more events.")
    drawn = [
        statistic(counts[group])
        for block in draw_counts(np.ones(len(distinct)), seed=seed, resamples=resamples)
        for counts in block.astype(np.float64)
    ]
    # A resample may lack one label; it has no value and does not widen the interval.
    return interval(value, np.asarray([each for each in drawn if np.isfinite(each)]))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
