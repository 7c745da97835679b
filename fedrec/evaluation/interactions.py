"""The train part of a split as matrices, and histories as rows of weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse

from fedrec.data.sequences import History
from fedrec.data.splits import Split

# A float32 sum cannot see weights below this share of the newest entry's.
_NEGLIGIBLE = 1e-7


def train_matrix(split: Split) -> Any:
    """Who chose what in training: a binary float32 CSR matrix (U, N) of targets; no held-out entry, no text."""
    sequences = split.sequences
    lengths = np.diff(sequences.offsets)
    users = np.repeat(np.arange(sequences.users), lengths)
    position = np.arange(len(users)) - sequences.offsets[users]
    end = np.where(split.validation_at < 0, lengths, split.validation_at)
    rows = sequences.entries.rows
    kept = sequences.entries.targets & (position < end[users]) & (rows < sequences.items)
    matrix = sparse.csr_matrix(
        (np.ones(int(kept.sum()), dtype=np.float32), (users[kept], rows[kept])),
        shape=(sequences.users, sequences.items),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def decayed(histories: Sequence[History], *, width: int, decay: float) -> Any:
    """Weights of histories as a float32 CSR matrix (B, width): weight * decay^age, summed per row.

    age: how many of the user's weighted entries below `width` came later. A decay of 0 keeps
    the newest only, a decay of 1 all alike.
    """
    kept = [history.take((history.rows < width) & (history.weights > 0)) for history in histories]
    ages = [np.arange(len(history))[::-1] for history in kept]
    faded = [(decay**age) for age in ages]
    return _rows(
        [history.rows[fade > _NEGLIGIBLE] for history, fade in zip(kept, faded, strict=True)],
        [(history.weights * fade)[fade > _NEGLIGIBLE] for history, fade in zip(kept, faded, strict=True)],
        width,
    )


def chosen(histories: Sequence[History], *, items: int) -> Any:
    """The targets of each history as a binary float32 CSR matrix (B, items)."""
    rows = [np.unique(history.rows[history.targets & (history.rows < items)]) for history in histories]
    return _rows(rows, [np.ones(len(each)) for each in rows], items)


def _rows(rows: Sequence[Any], values: Sequence[Any], width: int) -> Any:
    starts = np.concatenate([[0], np.cumsum([len(each) for each in rows])])
    data = np.concatenate([*values, np.empty(0)]).astype(np.float32)
    columns = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
    matrix = sparse.csr_matrix((data, columns, starts), shape=(len(rows), width))
    matrix.sum_duplicates()
    return matrix
