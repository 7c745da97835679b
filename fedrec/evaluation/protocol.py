"""Leave-one-out evaluation by full ranking: every item of the catalogue competes.

Source of the protocol: Krichene and Rendle 2020, doi:10.1145/3394486.3403226 (sampled
candidates change which of two models looks better).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import History, Ints
from fedrec.data.splits import Split, train_counts
from fedrec.errors import DataError
from fedrec.evaluation.beyond_accuracy import coverage, diversity, long_tail_share, novelty, top_items
from fedrec.evaluation.metrics import (
    Doubles,
    Estimate,
    bootstrap,
    bootstrap_difference,
    estimates,
    ndcg,
    rank_metrics,
    ranks,
)

HEADLINE = ("ndcg@10", "hr@10", "recall@20", "mrr")
LIST_LENGTH = 10
COLD_BELOW = 5

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


class Scorer(Protocol):
    """Anything that scores the whole catalogue for a history; it may not look at the split."""

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores (B, N), higher is better; a history may be empty and may hold query texts (rows >= N)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A batch of users with what is held out: history before it, its row, rows that may not be recommended."""

    users: Ints
    histories: Sequence[History]
    targets: Ints
    masked: Sequence[Ints]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """NDCG@10 of a part of the users; `least` and `most` bound what they were grouped by."""

    name: str
    n: int
    least: int
    most: int
    ndcg: Estimate

    def as_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {"n": self.n, "least": self.least, "most": self.most, "ndcg@10": self.ndcg.as_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One scorer on one held-out entry per user.

    users, ranks: (E,) index of each evaluated user and the rank of the held-out item.
    metrics: means over users. beyond: coverage, novelty, long-tail share, and diversity if
    vectors were given, of lists of ten. by_activity: quartiles of the history's length.
    by_item: by the training interactions of the held-out item; `cold` includes `unseen`.
    without_target: users, of all, with too short a history to hold anything out.
    """

    part: str
    users: Ints
    ranks: Doubles
    metrics: Mapping[str, Estimate]
    beyond: Mapping[str, Estimate]
    by_activity: Sequence[Group]
    by_item: Sequence[Group]
    without_target: int

    def headline(self) -> dict[str, Estimate]:
        """The four metrics that every output leads with."""
        return {name: self.metrics[name] for name in HEADLINE}

    def as_json(self) -> dict[str, Any]:
        """Everything but what belongs to single users."""
        return {
            "users": len(self.users),
            "without_target": self.without_target,
            **{name: each.as_json() for name, each in {**self.metrics, **self.beyond}.items()},
            "by_activity": {group.name: group.as_json() for group in self.by_activity},
            "by_item": {group.name: group.as_json() for group in self.by_item},
        }


def evaluate(
    scorer: Scorer,
    split: Split,
    *,
    test: bool,
    seed: int,
    sample: int = 0,
    batch: int = 256,
    index_vectors: npt.NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank each user's held-out item against the whole catalogue, `batch` users at a time.

    sample: how many users are scored, see `sampled`; items are counted over everybody's training data.

    The test item is looked at only with `test`; the validation item is then in the history.
    Masked are the targets of that history. index_vectors: (N, d), for diversity.
    seed: of the sample and the bootstrap. progress: called with users done and users in all.
    Raises DataError when nobody has a held-out entry, or for scores of a wrong shape or not finite.
    """
    everybody = held_out_users(split, test=test)
    users = sampled(everybody, sample, seed=seed)
    counts = train_counts(split)
    shown = np.zeros(split.sequences.items, dtype=np.bool_)
    rows: list[dict[str, npt.NDArray[Any]]] = []
    done = 0
    for held in held_out(split, users, test=test, batch=batch):
        scores = checked_scores(scorer, held.histories, split.sequences.items)
        lists = _top(scores, held.masked)
        shown[lists[lists >= 0]] = True
        rows.append(
            {
                "rank": ranks(scores, held.targets, held.masked),
                "activity": np.array([len(each) for each in held.masked]),
                "target_count": counts[held.targets],
                **_list_values(lists, counts, index_vectors),
            }
        )
        done += len(held.users)
        if progress is not None:
            progress(done, len(users))
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    rank, activity, target_count = (columns.pop(name) for name in ("rank", "activity", "target_count"))
    covered = coverage(shown)
    return Evaluation(
        part="test" if test else "validation",
        users=users,
        ranks=rank,
        metrics=estimates(rank_metrics(rank), seed=seed),
        beyond={"coverage@10": Estimate(covered, covered, covered), **estimates(columns, seed=seed)},
        by_activity=_by_activity(rank, activity, seed=seed),
        by_item=_by_item(rank, target_count, seed=seed),
        without_target=split.sequences.users - len(everybody),
    )


def held_out_users(split: Split, *, test: bool) -> Ints:
    """Index of every user with a held-out entry; raises DataError when there is none."""
    users = np.flatnonzero((split.test_at if test else split.validation_at) >= 0)
    if not len(users):
        raise DataError("No user has the three positive events that leave-one-out needs. Check the positive kinds.")
    return users


def sampled(users: Ints, sample: int, *, seed: int) -> Ints:
    """`sample` of the users, in their order, the same ones for the same seed; all of them for 0 or where fewer are.

    >>> sampled(np.arange(5), 0, seed=1).tolist()
    [0, 1, 2, 3, 4]
    """
    if not 0 < sample < len(users):
        return users
    return np.sort(np.random.default_rng([seed, sample]).choice(users, sample, replace=False))


def headline_of(scorer: Scorer, split: Split, *, test: bool, seed: int, sample: int = 0) -> dict[str, Estimate]:
    """The headline of `evaluate`, without what else it works out."""
    users = sampled(held_out_users(split, test=test), sample, seed=seed)
    found = rank_metrics(held_out_ranks(scorer, split, users, test=test))
    return estimates({name: found[name] for name in HEADLINE}, seed=seed)


def held_out(split: Split, users: Ints, *, test: bool, batch: int) -> Iterator[Held]:
    """The held-out entries of `users`, `batch` users at a time."""
    for start in range(0, len(users), batch):
        some = users[start : start + batch]
        found = [entry for user in some if (entry := split.until(int(user), test=test)) is not None]
        yield Held(
            users=some,
            histories=[history for history, _ in found],
            targets=np.array([row for _, row in found], dtype=np.int64),
            masked=[history.rows[history.targets & (history.rows < split.sequences.items)] for history, _ in found],
        )


def held_out_ranks(scorer: Scorer, split: Split, users: Ints, *, test: bool, batch: int = 256) -> Doubles:
    """Only the ranks of the held-out items of `users`: what tuning needs."""
    return np.concatenate(
        [
            ranks(checked_scores(scorer, held.histories, split.sequences.items), held.targets, held.masked)
            for held in held_out(split, users, test=test, batch=batch)
        ]
    )


def checked_scores(scorer: Scorer, histories: Sequence[History], items: int) -> Floats:
    """The scorer's answer; raises DataError unless its shape is (B, N)."""
    scores = scorer.scores(histories)
    if scores.shape != (len(histories), items):
        raise DataError(f"Scores have shape {scores.shape}, not {(len(histories), items)}. Score the whole catalogue.")
    return scores


def paired_difference(first: Evaluation, second: Evaluation, *, seed: int, metric: str = "ndcg@10") -> Estimate:
    """How much better `first` is than `second` on the same users, with its 95% interval."""
    if first.part != second.part or not np.array_equal(first.users, second.users):
        raise DataError("The two evaluations are not of the same users and part. Evaluate both on one split.")
    return bootstrap_difference(rank_metrics(first.ranks)[metric], rank_metrics(second.ranks)[metric], seed=seed)


def _top(scores: Floats, masked: Sequence[Ints]) -> Ints:
    open_scores = scores.copy()
    for row, hidden in zip(open_scores, masked, strict=True):
        row[hidden] = -np.inf
    return top_items(open_scores, LIST_LENGTH)


def _list_values(lists: Ints, counts: Ints, vectors: npt.NDArray[Any] | None) -> dict[str, Doubles]:
    values = {"novelty@10": novelty(lists, counts), "long_tail@10": long_tail_share(lists, counts)}
    return values if vectors is None else {**values, "diversity@10": diversity(lists, vectors)}


def _by_activity(rank: Doubles, activity: Ints, *, seed: int) -> list[Group]:
    quartile = np.searchsorted(np.quantile(activity, [0.25, 0.5, 0.75]), activity)
    names = ("least_active", "less_active", "more_active", "most_active")
    return _groups({name: quartile == place for place, name in enumerate(names)}, rank, activity, seed=seed)


def _by_item(rank: Doubles, counts: Ints, *, seed: int) -> list[Group]:
    parts = {"hot": counts >= COLD_BELOW, "cold": counts < COLD_BELOW, "unseen": counts == 0}
    return _groups(parts, rank, counts, seed=seed)


def _groups(parts: Mapping[str, npt.NDArray[np.bool_]], rank: Doubles, by: Ints, *, seed: int) -> list[Group]:
    """One group per part that somebody is in."""
    return [
        Group(
            name=name,
            n=int(inside.sum()),
            least=int(by[inside].min()),
            most=int(by[inside].max()),
            ndcg=bootstrap(ndcg(rank[inside], 10), seed=seed),
        )
        for name, inside in parts.items()
        if inside.any()
    ]
