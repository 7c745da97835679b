"""A score as a sum: exact parts of every entry, of the prior, of personal weights, of what was turned down."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Ints
from fedrec.model.linear import LinearModel
from fedrec.ondevice.live import TEXT, Entries
from fedrec.ondevice.scoring import Question

Doubles = npt.NDArray[np.float64]
Reals = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The scores of R items as sums. entries, turned_down: (R, L), one column per entry; prior, personal: (R,)."""

    entries: Doubles
    turned_down: Doubles
    prior: Doubles
    personal: Doubles
    scores: Doubles

    @property
    def absolute(self) -> list[float]:
        """The absolute sum of each item's parts; 1 where there are none, to divide by."""
        columns = np.abs(self.entries).sum(1) + np.abs(self.turned_down).sum(1)
        totals = columns + np.abs(self.prior) + np.abs(self.personal)
        return [float(total) or 1.0 for total in totals]


def parts_of(question: Question, model: LinearModel, rows: Ints, *, exact: bool = True) -> Parts:
    """The scores of some items, taken apart.

    `scores` is computed from the sums, not from the parts, so that the two check each other.
    exact: in float64; without, in float32, which is as good for the few words beside a list.
    """
    vectors = _precise(question.entries.vectors, exact)
    counted = _precise(question.counted, exact)
    pull = _precise(model.pull(rows), exact)
    items, decays, width = pull.shape
    each = (pull.reshape(items * decays, width) @ vectors.T).reshape(items, decays, len(vectors))
    sums = (pull * (counted @ vectors if exact else question.sums)).sum((1, 2))
    against, personal, extra = np.zeros((items, len(vectors))), np.zeros(items), np.zeros(items)
    if question.extra is not None:
        wanted = _precise(model.index.vectors(rows), exact)
        extra = wanted @ question.extra
        against -= (wanted @ vectors.T) * question.against
        personal = np.zeros(items) if question.personal is None else wanted @ question.personal
    prior = model.prior[rows].astype(np.float64)
    return Parts(
        entries=(each * counted).sum(1),
        turned_down=against,
        prior=prior,
        personal=personal,
        scores=sums + extra + prior,
    )


@dataclass(frozen=True, slots=True)
class Groups:
    """The entries by what was done with one thing. order: (L,) places; group g is order[starts[g] : ends[g]]."""

    order: Ints
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, entries: Entries) -> "Groups":
        """Group entries by their items."""
        # Every text is a thing of its own.
        things = np.where(entries.rows == TEXT, -2 - np.arange(len(entries)), entries.rows)
        order = np.argsort(things, kind="stable")
        starts = np.flatnonzero(np.diff(things[order], prepend=-1))
        return cls(order, starts, np.append(starts[1:], len(order)))

    def sums(self, parts: Doubles) -> Doubles:
        """(R, G) of (R, L)."""
        if not len(self.starts):
            return parts
        added: Doubles = np.add.reduceat(parts[:, self.order], self.starts, axis=1)
        return added

    def places(self, group: int) -> Ints:
        """The places of one group's entries."""
        return self.order[self.starts[group] : self.ends[group]]


def _precise(given: Reals, exact: bool) -> Reals:
    return given.astype(np.float64) if exact else given
