"""From histories to training examples, where one example is exactly one privacy unit.

A USER example is one person's whole (capped) history. A SEGMENT example is what one
person did within one fixed UTC interval; it starts with an empty history, so that one
event sits in one example and no insertion shifts another segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fedrec.data.sequences import Floats, History, Ints, first_targets
from fedrec.model.history import usual_ratings

DAY = 86_400
# Nobody's example is made of more entries, or owns more items: otherwise one enormous history would
# exhaust the memory of a hub for everybody. Real people stay below: the most active person of
# MovieLens (ml-latest-small) has 2,698 entries.
MOST_ENTRIES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How histories become examples: targets per example at most, entries read, unit."""

    positions: int
    window: int
    unit: Literal["USER", "SEGMENT"] = "USER"
    segment_days: int = 30


class Reader(Protocol):
    """What turns a history into what a tower reads: a torch tower, or a device's own."""

    def inputs(self, history: History, positions: Ints) -> tuple[Any, ...]:
        """Arrays or tensors, each (P, ...): one row per position."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One unit: P or fewer positions to learn from. See `Batch` for the fields."""

    inputs: tuple[Any, ...]
    targets: Ints
    aims: Floats
    intents: Floats
    ratings: Floats
    usual: Floats
    own: Ints


def units_of(history: History, shape: Shape) -> Iterator[History]:
    """The parts of one person's history that are one unit each."""
    if shape.unit == "USER":
        yield history
        return
    segment = history.times // (shape.segment_days * DAY)
    for value in np.unique(segment):
        yield history.take(segment == value)


def make_example(history: History, tower: Reader, shape: Shape, *, items: int) -> Example | None:
    """The example of one unit; None where it holds nothing to learn from.

    However long the history, the tower reads at most `window` + max(4096, `positions`) of its entries.
    """
    aimed = first_targets(history)
    labelled = aimed | ~np.isnan(history.intents) | ~np.isnan(history.ratings)
    positions = np.flatnonzero(labelled & (history.rows < items))
    # The first entry has no history before it; next-item training has nothing to go by.
    positions = positions[positions > 0][-shape.positions :]
    if not len(positions):
        return None
    most = max(MOST_ENTRIES, shape.positions)
    positions = positions[positions > positions[-1] - most]
    # First positives are every owned item once, the latest last.
    own = np.unique(history.rows[aimed & (history.rows < items)][-most:])
    start = max(0, int(positions[0]) - shape.window)
    return Example(
        # No position sees what comes after it.
        inputs=tower.inputs(history.take(slice(start, int(positions[-1]) + 1)), positions - start),
        targets=history.rows[positions],
        aims=aimed[positions].astype(np.float32),
        intents=history.intents[positions],
        ratings=history.ratings[positions],
        usual=usual_ratings(history)[positions],
        own=own,
    )


def examples_of(histories: Sequence[History], tower: Reader, shape: Shape, *, items: int) -> list[Example]:
    """Every unit that a client holds and can learn from; one whose example cannot be made counts as absent.

    Otherwise one person's data could take everybody else's out of the sum. Raises what a
    unit raised only where no example at all was made: nobody else's is lost then.
    """
    made: list[Example] = []
    fault: Exception | None = None
    for history in histories:
        for unit in units_of(history, shape):
            try:
                example = make_example(unit, tower, shape, items=items)
            except Exception as error:
                # Without its traceback, which would keep alive the arrays that filled the memory.
                fault = error.with_traceback(None)
                continue
            if example is not None:
                made.append(example)
    if fault and not made:
        raise fault
    return made
