"""People who chose what you chose lately also chose this.

Source: Deshpande and Karypis 2004, doi:10.1145/963770.963776 (item-based top-N); shrinkage
as in Ferrari Dacrema et al. 2019, arXiv:1907.06902; the asymmetric cosine is Aiolli 2013,
doi:10.1145/2507157.2507189. Recency over positions in the history is added here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedrec.data.sequences import Floats, History
from fedrec.data.splits import Split
from fedrec.evaluation.interactions import decayed, train_matrix

_COLUMNS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How alike two items are: together / (seen^(1 - damping) * candidate^damping + shrink).

    together: users who chose both; seen, candidate: users who chose the one in the history
    and the one to score. A damping of .5 is the cosine, less of it favours popular candidates.
    neighbours: how many seen items may speak for a candidate, its nearest; None: all.
    """

    shrink: float = 0.0
    damping: float = 0.5
    neighbours: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnn:
    """Scores a candidate by the summed similarity to the history, the newest entry weighing 1, the next `decay`.

    blocks: similarities in column blocks, kept when `neighbours` bounds them to N x neighbours
    numbers; otherwise every call computes one block after the other and forgets it.
    """

    train: Any
    similarity: Similarity
    decay: float
    blocks: Sequence[tuple[slice, Any]] | None

    @classmethod
    def fit(cls, split: Split, similarity: Similarity, *, decay: float = 1.0) -> "ItemKnn":
        """Compare the items that the train part chose together."""
        train = train_matrix(split)
        kept = None if similarity.neighbours is None else list(similarity_blocks(train, similarity))
        return cls(train=train, similarity=similarity, decay=decay, blocks=kept)

    def with_decay(self, decay: float) -> "ItemKnn":
        """The same similarities under another recency."""
        return replace(self, decay=decay)

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores (B, N); all zero for a history without training items."""
        items = self.train.shape[1]
        weights = decayed(histories, width=items, decay=self.decay)
        scores = np.zeros((len(histories), items), dtype=np.float32)
        blocks = similarity_blocks(self.train, self.similarity) if self.blocks is None else self.blocks
        for columns, block in blocks:
            scores[:, columns] = (weights @ block).toarray()
        return scores


def similarity_blocks(train: Any, similarity: Similarity) -> Iterator[tuple[slice, Any]]:
    """Sparse (N, block) similarities of all items to some candidates; an item is not like itself."""
    counts = np.maximum(np.asarray(train.sum(axis=0), dtype=np.float64).ravel(), 1)
    by_candidate = train.T.tocsr()
    for start in range(0, len(counts), _COLUMNS):
        columns = slice(start, min(start + _COLUMNS, len(counts)))
        block = by_candidate[columns] @ train
        _compare(block, counts, columns, similarity)
        block.eliminate_zeros()
        yield columns, block.T.tocsr()


def _compare(block: Any, counts: Any, columns: slice, similarity: Similarity) -> None:
    """Turn the counts of choosing both, candidates in rows, into similarities, in place."""
    per_row = np.diff(block.indptr)
    candidate = np.repeat(counts[columns] ** similarity.damping, per_row)
    scale = (counts ** (1 - similarity.damping))[block.indices] * candidate + similarity.shrink
    itself = block.indices == np.repeat(np.arange(columns.start, columns.stop), per_row)
    block.data[:] = np.where(itself, 0, block.data / scale)
    if similarity.neighbours is not None:
        _keep_nearest(block, similarity.neighbours)


def _keep_nearest(block: Any, neighbours: int) -> None:
    """Zero all but the `neighbours` largest of each row; those level with the last stay."""
    for start, end in zip(block.indptr[:-1], block.indptr[1:], strict=True):
        if end - start > neighbours:
            row = block.data[start:end]
            row[row < np.partition(row, -neighbours)[-neighbours]] = 0
