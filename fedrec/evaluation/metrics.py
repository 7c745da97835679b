"""Rank-based metrics of held-out items, and how sure a mean over users is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError

CUTOFFS = (5, 10, 20)
_BLOCK = 4_000_000

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over users and its 95% bootstrap interval (three equal numbers when not resampled)."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """The form that every `--json` output uses."""
        return asdict(self)


def ranks(scores: Array, targets: Array, masked: Sequence[Array]) -> Doubles:
    """The rank (U,) of each user's target among the items that are not masked; 1 is best.

    scores: (U, N). targets: (U,) item rows. masked: per user the item rows to leave out,
    in any order, repeats allowed; their scores may be anything.
    Equal scores share the average of the ranks that they span, so a constant scorer ranks
    every target in the middle instead of first.
    Raises DataError for a score that is not finite (NaN would otherwise read as rank 1), a
    target outside the catalogue, and a target that is masked.

    >>> ranks(np.array([[0.1, 0.9, 0.5, 0.5]]), np.array([2]), [np.array([1])])
    array([1.5])
    """
    users, at = _flatten(masked)
    _check_targets(scores, targets, users, at)
    finite = np.isfinite(scores)
    finite[users, at] = True
    if not finite.all():
        raise DataError(f"{int((~finite).sum())} scores are not finite. Check the model's training before ranking.")
    own = scores[np.arange(len(targets)), targets]
    hidden = scores[users, at]
    above = (scores > own[:, None]).sum(axis=1) - _count(users[hidden > own[users]], len(targets))
    level = (scores == own[:, None]).sum(axis=1) - _count(users[hidden == own[users]], len(targets))
    return np.asarray(1 + above + (level - 1) / 2, dtype=np.float64)


def hit_rate(ranks: Array, k: int) -> Doubles:
    """1.0 where the rank is at most `k`, per user.

    The average rank decides: a target that ties across the cutoff counts when the middle
    of the tie is inside.
    """
    return np.asarray(ranks <= k, dtype=np.float64)


def ndcg(ranks: Array, k: int) -> Doubles:
    """1 / log2(1 + rank) where the rank is at most `k`, else 0, per user.

    With one relevant item the ideal gain is 1. Source: Järvelin and Kekäläinen 2002,
    doi:10.1145/582415.582418.

    >>> ndcg(np.array([1.0, 3.0, 11.0]), 10)
    array([1. , 0.5, 0. ])
    """
    return np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0)


def reciprocal_rank(ranks: Array) -> Doubles:
    """1 / rank over the whole catalogue, without a cutoff, per user."""
    return np.asarray(1 / ranks, dtype=np.float64)


def rank_metrics(ranks: Array) -> dict[str, Doubles]:
    """Every rank metric per user: `ndcg@k`, `hr@k`, `recall@k` for k in 5, 10, 20, and `mrr`.

    One item is held out per user, so recall@k (relevant items found, over relevant items)
    equals hr@k; both names are kept because papers use either.
    """
    found: dict[str, Doubles] = {}
    for k in CUTOFFS:
        found |= {f"ndcg@{k}": ndcg(ranks, k), f"hr@{k}": hit_rate(ranks, k), f"recall@{k}": hit_rate(ranks, k)}
    return found | {"mrr": reciprocal_rank(ranks)}


def bootstrap(values: Array, *, seed: int, resamples: int = 1000) -> Estimate:
    """The mean of `values` (U,) and its 95% percentile interval when users are drawn anew.

    Drawing U users with replacement is drawing the counts of the distinct values from a
    multinomial, so the work grows with the distinct values and not with the users.
    Raises DataError without users or with a value that is not finite.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise DataError(
            f"Cannot estimate from {len(values)} values, all of which must be finite. Check who was held out."
        )
    distinct, counts = np.unique(values, return_counts=True)
    means = [block @ distinct / len(values) for block in draw_counts(counts, seed=seed, resamples=resamples)]
    return interval(float(values.mean()), np.concatenate(means))


def bootstrap_difference(first: Array, second: Array, *, seed: int, resamples: int = 1000) -> Estimate:
    """The mean of `first - second` over the same users, paired, with its 95% interval.

    Raises DataError when the two do not have a value for the same number of users.
    """
    if len(first) != len(second):
        raise DataError(f"Cannot pair {len(first)} users with {len(second)}. Evaluate both on the same split.")
    return bootstrap(np.subtract(first, second), seed=seed, resamples=resamples)


def draw_counts(counts: Array, *, seed: int, resamples: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each of the D groups is drawn in each resample, in blocks (R', D) of bounded memory."""
    generator = np.random.default_rng(seed)
    total = int(counts.sum())
    step = max(1, _BLOCK // len(counts))
    for start in range(0, resamples, step):
        yield generator.multinomial(total, counts / total, size=min(step, resamples - start))


def interval(value: float, resampled: Array) -> Estimate:
    """`value` between the 2.5% and 97.5% quantiles of its resampled twins."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def estimates(values: Mapping[str, Array], *, seed: int) -> dict[str, Estimate]:
    """One bootstrap estimate per name."""
    return {name: bootstrap(each, seed=seed) for name, each in values.items()}


def _flatten(ragged: Sequence[Array]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    unique = [np.unique(np.asarray(each, dtype=np.int64)) for each in ragged]
    users = np.repeat(np.arange(len(unique)), [len(each) for each in unique])
    return users, np.concatenate([*unique, np.empty(0, dtype=np.int64)])


def _count(users: Array, size: int) -> npt.NDArray[np.int64]:
    return np.bincount(users, minlength=size).astype(np.int64)


def _check_targets(scores: Array, targets: Array, users: Array, masked: Array) -> None:
    items = scores.shape[1]
    if len(targets) and not (targets.min() >= 0 and targets.max() < items):
        raise DataError(f"A held-out item lies outside the catalogue of {items}. Score the whole catalogue.")
    if np.any(masked == np.asarray(targets)[users]):
        raise DataError("A held-out item is masked for its user, so it has no rank. Mask earlier targets only.")
