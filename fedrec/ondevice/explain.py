"""Why an item scores what it scores: exact parts that add up, said in plain words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedrec.data.events import TEXT_KINDS
from fedrec.data.sequences import Ints
from fedrec.model.linear import LinearModel
from fedrec.ondevice.live import KINDS, TEXT, Entries
from fedrec.ondevice.scoring import Question
from fedrec.ondevice.vocabulary import (
    AGAINST_HABITS,
    ASKING_FOR,
    FORGOTTEN,
    LOOKING_AT,
    PERSONAL,
    POPULAR,
    UNPOPULAR,
    quoted,
    said,
    shortened,
)

Doubles = npt.NDArray[np.float64]
Source = Literal["history", "search", "context", "popularity", "personal", "turned_down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One part of a score. because: plain words. contribution: added to the score, and, as `share`, of all
    parts' absolute sum. event_id: what the person did, None where it was nothing of theirs."""

    because: str
    share: float
    contribution: float
    source: Source
    event_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A score taken apart: the contributions of `parts` add up to `score`; the largest come first."""

    item_id: str
    title: str
    score: float
    parts: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The scores of R items as sums. entries, turned_down: (R, L), one column per entry; prior, personal: (R,)."""

    entries: Doubles
    turned_down: Doubles
    prior: Doubles
    personal: Doubles
    scores: Doubles


@dataclass(frozen=True, slots=True)
class Words:
    """What explanations say: of an item by its row, and of a text by its event."""

    title: Callable[[int], str]
    text: Callable[[int], str | None]
    asked: str = ""

    def of(self, entries: Entries, place: int) -> str:
        """What the person did at an entry."""
        row, event_id, kind = int(entries.rows[place]), int(entries.ids[place]), KINDS[entries.kinds[place]]
        if not event_id:
            return ASKING_FOR.format(quoted(self.asked)) if row == TEXT else LOOKING_AT.format(self._title(row))
        if row != TEXT:
            return said(kind, self._title(row))
        text = self.text(event_id)
        return FORGOTTEN if text is None else said(kind, quoted(text))

    def _title(self, row: int) -> str:
        return shortened(self.title(row))


def parts_of(question: Question, model: LinearModel, rows: Ints) -> Parts:
    """The scores of some items, taken apart in float64.

    `scores` is computed from the sums, not from the parts, so that the two check each other.
    """
    vectors = question.entries.vectors.astype(np.float64)
    counted = question.counted.astype(np.float64)
    pull = model.pull(rows).astype(np.float64)
    wanted = model.index.vectors(rows).astype(np.float64)
    items, decays, width = pull.shape
    each = (pull.reshape(items * decays, width) @ vectors.T).reshape(items, decays, len(vectors))
    against = -(wanted @ vectors.T) * question.against if question.against.any() else np.zeros((items, len(vectors)))
    personal = np.zeros(items) if question.personal is None else wanted @ question.personal
    extra = np.zeros(items) if question.extra is None else wanted @ question.extra.astype(np.float64)
    sums = (pull * (counted @ vectors)).sum((1, 2))
    prior = model.prior[rows].astype(np.float64)
    return Parts(
        entries=(each * counted).sum(1),
        turned_down=against,
        prior=prior,
        personal=personal,
        scores=sums + extra + prior,
    )


def reasons_of(parts: Parts, item: int, question: Question, words: Words) -> tuple[Reason, ...]:
    """Every part of one item's score that is not zero, the largest first; `item`: its place among the parts."""
    entries = question.entries
    made = [
        _entry_reason(entries, place, value, source, words) for place, value, source in _columns(parts, item, entries)
    ]
    made += _beside(parts, item)
    return tuple(sorted(_shared(made), key=lambda reason: -abs(reason.contribution)))


def main_reasons(parts: Parts, item: int, question: Question, words: Words, *, most: int) -> tuple[Reason, ...]:
    """The `most` largest parts that speak for one item; all that was done with one thing is one part."""
    entries = question.entries
    said = parts.entries[item]
    total = _absolute(parts, item)
    groups: dict[int, list[int]] = {}
    for place in np.flatnonzero(said).tolist():
        row = int(entries.rows[place])
        # Every text is a thing of its own.
        groups.setdefault(row if row != TEXT else -2 - place, []).append(place)
    sums = {max(group, key=lambda place: said[place]): float(said[group].sum()) for group in groups.values()}
    beside = {-1 - number: reason for number, reason in enumerate(_beside(parts, item))}
    sums |= {key: reason.contribution for key, reason in beside.items()}
    best = sorted((key for key in sums if sums[key] > 0), key=lambda key: (-sums[key], key))[:most]
    return tuple(
        replace(beside[key], share=sums[key] / total)
        if key < 0
        else _entry_reason(entries, key, sums[key], _source(entries, key), words, share=sums[key] / total)
        for key in best
    )


def _entry_reason(
    entries: Entries, place: int, value: float, source: Source, words: Words, *, share: float = 0.0
) -> Reason:
    return Reason(
        because=words.of(entries, place),
        share=share,
        contribution=value,
        source=source,
        event_id=int(entries.ids[place]) or None,
    )


def _columns(parts: Parts, item: int, entries: Entries) -> list[tuple[int, float, Source]]:
    """(place, contribution, source) of every entry that adds something or is held against the item."""
    said, against = parts.entries[item], parts.turned_down[item]
    return [
        *((place, float(said[place]), _source(entries, place)) for place in np.flatnonzero(said).tolist()),
        *((place, float(against[place]), "turned_down") for place in np.flatnonzero(against).tolist()),
    ]


def _beside(parts: Parts, item: int) -> list[Reason]:
    prior, personal = float(parts.prior[item]), float(parts.personal[item])
    found = []
    if prior:
        words = POPULAR if prior > 0 else UNPOPULAR
        found.append(Reason(because=words, share=0.0, contribution=prior, source="popularity"))
    if personal:
        words = PERSONAL if personal > 0 else AGAINST_HABITS
        found.append(Reason(because=words, share=0.0, contribution=personal, source="personal"))
    return found


def _absolute(parts: Parts, item: int) -> float:
    columns = np.abs(parts.entries[item]).sum() + np.abs(parts.turned_down[item]).sum()
    return float(columns + abs(parts.prior[item]) + abs(parts.personal[item])) or 1.0


def _shared(reasons: Sequence[Reason]) -> list[Reason]:
    total = sum(abs(reason.contribution) for reason in reasons) or 1.0
    return [replace(reason, share=abs(reason.contribution) / total) for reason in reasons]


def _source(entries: Entries, place: int) -> Source:
    if not entries.ids[place]:
        return "context"
    return "search" if KINDS[entries.kinds[place]] in TEXT_KINDS else "history"
