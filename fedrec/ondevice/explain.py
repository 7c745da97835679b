"""Why an item scores what it scores: the parts of its score, said in plain words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fedrec.data.events import TEXT_KINDS
from fedrec.ondevice.live import KINDS, TEXT, Entries
from fedrec.ondevice.parts import Doubles, Groups, Parts
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


def reasons_of(parts: Parts, item: int, question: Question, words: Words) -> tuple[Reason, ...]:
    """Every part of one item's score that is not zero, the largest first; `item`: its place among the parts."""
    entries = question.entries
    made = [
        _entry_reason(entries, place, value, source, words) for place, value, source in _columns(parts, item, entries)
    ]
    beside = (float(parts.prior[item]), float(parts.personal[item]))
    made += [say(value) for say, value in zip(_BESIDE, beside, strict=True) if value]
    return tuple(sorted(_shared(made), key=lambda reason: -abs(reason.contribution)))


def main_reasons(parts: Parts, question: Question, words: Words, *, most: int) -> list[tuple[Reason, ...]]:
    """For each item the `most` largest parts that speak for it; all that was done with one thing is one part."""
    groups = Groups.of(question.entries)
    values = np.concatenate([groups.sums(parts.entries), parts.prior[:, None], parts.personal[:, None]], axis=1)
    few = np.argpartition(-values, min(most, values.shape[1] - 1), axis=1)[:, :most]
    largest = np.take_along_axis(few, np.argsort(-np.take_along_axis(values, few, 1), axis=1, kind="stable"), 1)
    totals = parts.absolute
    made = []
    for item, chosen in enumerate(largest.tolist()):
        speaking = [(group, float(values[item, group])) for group in chosen if values[item, group] > 0]
        made.append(
            tuple(
                _main(
                    parts.entries[item], groups, group, question.entries, words, value=value, share=value / totals[item]
                )
                for group, value in speaking
            )
        )
    return made


def _main(
    said: Doubles, groups: Groups, group: int, entries: Entries, words: Words, *, value: float, share: float
) -> Reason:
    """The reason of one group of entries, or, behind the groups, of what is beside the history."""
    if group >= len(groups.starts):
        return replace(_BESIDE[group - len(groups.starts)](value), share=share)
    places = groups.places(group)
    place = int(places[said[places].argmax()])
    return _entry_reason(entries, place, value, _source(entries, place), words, share=share)


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


def _popularity(value: float) -> Reason:
    words = POPULAR if value > 0 else UNPOPULAR
    return Reason(because=words, share=0.0, contribution=value, source="popularity")


def _personal(value: float) -> Reason:
    words = PERSONAL if value > 0 else AGAINST_HABITS
    return Reason(because=words, share=0.0, contribution=value, source="personal")


_BESIDE = (_popularity, _personal)


def _shared(reasons: Sequence[Reason]) -> list[Reason]:
    total = sum(abs(reason.contribution) for reason in reasons) or 1.0
    return [replace(reason, share=abs(reason.contribution) / total) for reason in reasons]


def _source(entries: Entries, place: int) -> Source:
    if not entries.ids[place]:
        return "context"
    return "search" if KINDS[entries.kinds[place]] in TEXT_KINDS else "history"
