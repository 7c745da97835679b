"""From events to entries of a history: what each says about the taste, in numpy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedrec.data.events import NEGATIVE_KINDS, TEXT_KINDS, Event, Kind, intent_label
from fedrec.data.sequences import History, Ints
from fedrec.errors import ConfigError

DEFAULT_WEIGHTS: Mapping[str, float] = {
    Kind.VIEW: 0.3,
    Kind.CLICK: 0.5,
    Kind.LIKE: 1.0,
    Kind.SAVE: 1.0,
    Kind.SHARE: 1.0,
    Kind.PURCHASE: 1.0,
    Kind.RATE: 1.0,
    Kind.PLAY: 1.0,
    Kind.SKIP: 0.0,
    Kind.HIDE: 0.0,
    Kind.BLOCK: 0.0,
    Kind.SEARCH: 1.0,
    Kind.COMMENT: 0.5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveRule:
    """Which events next-item training and evaluation aim at.

    min_rating: a `rate` below it is no positive (None: every rating counts as "chose it").
    min_finished: the same for the share finished of a `play`.
    """

    kinds: tuple[str, ...] = (
        Kind.CLICK,
        Kind.LIKE,
        Kind.SAVE,
        Kind.SHARE,
        Kind.PURCHASE,
        Kind.RATE,
        Kind.PLAY,
    )
    min_rating: float | None = None
    min_finished: float | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in Kind.__members__.values() or kind in NEGATIVE_KINDS | TEXT_KINDS:
                raise ConfigError(f"`{kind}` cannot be a positive kind. Choose from {', '.join(DEFAULT_WEIGHTS)}.")

    def admits(self, event: Event) -> bool:
        """Whether an event of an item is a positive."""
        least = {Kind.RATE: self.min_rating, Kind.PLAY: self.min_finished}.get(event.kind)
        return event.kind in self.kinds and (least is None or (event.value is not None and event.value >= least))


def kind_weights(given: Mapping[str, float]) -> dict[str, float]:
    """The weight of every kind, the given ones in place of the defaults; raises ConfigError for a bad one."""
    for kind, weight in given.items():
        if kind not in DEFAULT_WEIGHTS or not 0 <= weight < float("inf"):
            raise ConfigError(
                f"data.kind_weights gives `{kind}` the weight {weight}. Use kinds out of {', '.join(DEFAULT_WEIGHTS)} "
                "and weights of at least 0."
            )
    return {**DEFAULT_WEIGHTS, **given}


def is_query(event: Event) -> bool:
    """Whether an event enters a history by its text, not by its item."""
    return event.text is not None and event.kind in TEXT_KINDS


def history_of(events: Sequence[Event], rows: Ints, *, rule: PositiveRule, weights: Mapping[str, float]) -> History:
    """The entries of one person's events, in the order given.

    rows: (L,) of each event's item in the index, or, from N on, of its text.
    weights: of every kind, see `kind_weights`.
    """
    nan = float("nan")
    intents = [intent_label(event.kind, event.value) for event in events]
    ratings = [event.value if event.kind is Kind.RATE else None for event in events]
    return History(
        rows=np.asarray(rows, dtype=np.int64),
        times=np.array([event.timestamp for event in events], dtype=np.int64),
        weights=np.array([weights[event.kind] for event in events], dtype=np.float32),
        targets=np.array([rule.admits(event) and not is_query(event) for event in events], dtype=np.bool_),
        intents=np.array([nan if label is None else label for label in intents], dtype=np.float32),
        ratings=np.array([nan if value is None else value for value in ratings], dtype=np.float32),
    )
