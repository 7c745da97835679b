"""Small known-answer worlds for the evaluation tests."""

from collections.abc import Sequence

import numpy as np

from fedrec.data.sequences import History, Sequences
from fedrec.data.splits import Split, leave_one_out


def history(rows: Sequence[int], *, targets: Sequence[bool] | None = None) -> History:
    """A history of these rows, all of them positives unless said otherwise."""
    size = len(rows)
    return History(
        rows=np.asarray(rows, dtype=np.int64),
        times=np.arange(size, dtype=np.int64),
        weights=np.ones(size, dtype=np.float32),
        targets=np.ones(size, dtype=np.bool_) if targets is None else np.asarray(targets, dtype=np.bool_),
        intents=np.full(size, np.nan, dtype=np.float32),
        ratings=np.full(size, np.nan, dtype=np.float32),
    )


def pack(histories: Sequence[History], *, items: int, texts: Sequence[str] = ()) -> Split:
    """These histories as a leave-one-out split."""
    entries = History(
        **{
            name: np.concatenate([getattr(each, name) for each in histories])
            for name in ("rows", "times", "weights", "targets", "intents", "ratings")
        }
    )
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in histories])]).astype(np.int64)
    ids = [str(place) for place in range(len(histories))]
    return leave_one_out(Sequences(user_ids=ids, offsets=offsets, entries=entries, items=items, texts=texts))


def two_tastes(*, seed: int = 0, users: int = 24, per_group: int = 8) -> Split:
    """Even users choose among items 0 to 7, odd users among 8 to 15, six each, in random order."""
    generator = np.random.default_rng(seed)
    return pack(
        [history(generator.permutation(per_group)[: per_group - 2] + per_group * (user % 2)) for user in range(users)],
        items=2 * per_group,
    )


def taste_vectors(*, per_group: int = 8, seed: int = 0) -> np.ndarray:
    """Text vectors (16, 4) of the two-taste world: a direction per group and a little noise."""
    generator = np.random.default_rng(seed)
    direction = np.repeat(np.eye(2, 4), per_group, axis=0)
    return (direction + 0.05 * generator.normal(size=direction.shape)).astype(np.float32)
