"""What a person did: the event contract, and what each kind of event says about a taste."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of event that fedrec understands."""

    VIEW = "view"
    CLICK = "click"
    LIKE = "like"
    SAVE = "save"
    SHARE = "share"
    PURCHASE = "purchase"
    RATE = "rate"
    PLAY = "play"
    SKIP = "skip"
    HIDE = "hide"
    BLOCK = "block"
    SEARCH = "search"
    COMMENT = "comment"


NEGATIVE_KINDS = frozenset({Kind.SKIP, Kind.HIDE, Kind.BLOCK})
TEXT_KINDS = frozenset({Kind.SEARCH, Kind.COMMENT})
COMMITTED_KINDS = frozenset({Kind.LIKE, Kind.SAVE, Kind.SHARE, Kind.PURCHASE})

# From where on a rating, and a share finished, say that a person meant it.
LIKED_RATING = 4.0
FINISHED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that one person did; private plane, never leaves the device.

    timestamp: seconds since 1970 in UTC. value: the rating of a `rate`, the share
    finished (0 to 1) of a `play`. text: what was searched for or written.
    """

    user_id: str
    item_id: str | None
    timestamp: int
    kind: Kind
    value: float | None = None
    text: str | None = None
    context: str | None = None


def intent_label(kind: Kind, value: float | None, *, liked_rating: float = LIKED_RATING) -> float | None:
    """Whether the person meant it (1), did not (0), or left it open (None).

    >>> intent_label(Kind.PURCHASE, None), intent_label(Kind.RATE, 2.0), intent_label(Kind.VIEW, None)
    (1.0, 0.0, None)
    """
    if kind in COMMITTED_KINDS:
        return 1.0
    if kind in NEGATIVE_KINDS:
        return 0.0
    if kind is Kind.RATE and value is not None:
        return float(value >= liked_rating)
    if kind is Kind.PLAY and value is not None:
        return float(value >= FINISHED)
    return None
