"""What the person says about an item, what that changes at once, and how all of it is taken back.

Every piece of feedback is one event of the history: it counts in the next list and in later
training. What must outlast the events' retention (hidden items, blocked providers, muted
topics) is kept apart, with the feedback that asked for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Literal

from fedrec.data.events import Event, Kind
from fedrec.data.store.store import OWNER, Store
from fedrec.errors import DataError
from fedrec.ondevice.catalogue import Item


class Action(StrEnum):
    """What the person can say about an item."""

    LIKE = "like"
    SAVE = "save"
    SHARE = "share"
    FINISH = "finish"
    RATE = "rate"
    SKIP = "skip"
    HIDE = "hide"
    BLOCK = "block"
    NOT_THIS_TOPIC = "not_this_topic"
    VIEW = "view"
    CLICK = "click"
    PURCHASE = "purchase"


_KINDS = {Action.FINISH: Kind.PLAY, Action.NOT_THIS_TOPIC: Kind.HIDE}
# Saying these again, while they stand, changes nothing.
_STANDING = frozenset({Action.LIKE, Action.SAVE, Action.HIDE, Action.BLOCK, Action.NOT_THIS_TOPIC})
# Not decisions of the person: "undo" without naming one passes them over.
_PASSING = frozenset({Action.VIEW, Action.CLICK})
_DOUBLE_CLICK_SECONDS = 2
_BEST_RATING = 5.0
_LATEST_TIME = 253_402_300_799  # the last second of the year 9999

_GIVEN, _CLOSED = "feedback.", "closed."
_ITEM, _PROVIDER, _TOPIC = f"{_CLOSED}item.", f"{_CLOSED}provider.", f"{_CLOSED}topic."
# In place of a feedback's id: closed by the person's own switch.
_SWITCH = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One thing that the person said; private plane.

    action: also given by its name. value: the rating of a `rate`, 0 to 5; nothing else has one.
    time: seconds since 1970 in UTC. Raises DataError for what makes no sense.
    """

    action: Action
    item_id: str
    value: float | None = None
    time: int

    def __post_init__(self) -> None:
        if self.action not in list(Action):
            raise DataError(f"There is no such feedback. Give one of {', '.join(Action)}.")
        object.__setattr__(self, "action", Action(self.action))
        if not isinstance(self.item_id, str) or not self.item_id:
            raise DataError("Feedback names an item by its id, a text that is not empty.")
        if isinstance(self.time, bool) or not isinstance(self.time, int) or not 0 <= self.time <= _LATEST_TIME:
            raise DataError("The time of a feedback is a whole number of seconds since 1970 in UTC.")
        if self.action is Action.RATE:
            _require_rating(self.value)
        elif self.value is not None:
            raise DataError(f"Only `rate` takes a value. Give `{self.action}` without one.")

    @property
    def kind(self) -> Kind:
        """The kind of event that it is recorded as."""
        return _KINDS.get(self.action) or Kind(self.action)


@dataclass(frozen=True, slots=True)
class Closed:
    """What the person closed for good, by name: it outlasts releases and the retention of events."""

    items: frozenset[str]
    providers: frozenset[str]
    topics: frozenset[str]


def give(store: Store, feedback: Feedback, item: Item | None) -> int:
    """Record a feedback with everything that follows from it, and return its id, that of its event.

    item: what the catalogue holds under the feedback's item id. Said twice, it counts once
    and has one id. Raises DataError where the catalogue holds no such item.
    """
    if item is None or item.item_id != feedback.item_id:
        raise DataError("The catalogue holds no such item. Give feedback on an item of the installed release.")
    with store.transaction():
        given = _given(store, item.item_id)
        again = _repeated(feedback, given)
        if again is not None:
            return again
        feedback_id: int = store.add_event(_event(feedback))
        closes = list(_closes(feedback, item))
        for name in closes:
            store.set_value(name, [*store.value(name, []), feedback_id])
        record = {
            "id": feedback_id,
            "action": feedback.action.value,
            "value": feedback.value,
            "time": feedback.time,
            "closes": closes,
        }
        store.set_value(_GIVEN + item.item_id, [*given, record])
    return feedback_id


def undo(store: Store, feedback_id: int | None = None) -> Feedback:
    """Take a feedback back, the last one unless named, and return it: nothing that it changed remains.

    Raises DataError where there is none, or none any more, to take back.
    """
    with store.transaction():
        found = _find(store, feedback_id)
        if found is None and feedback_id is None:
            raise DataError("There is no feedback to undo.")
        if found is None:
            raise DataError("This feedback is not there, or was taken back before. Name one that stands.")
        item_id, record = found
        store.remove_event(record["id"])
        for name in record["closes"]:
            _set_or_delete(store, name, [each for each in store.value(name, []) if each != record["id"]])
        rest = [each for each in _given(store, item_id) if each["id"] != record["id"]]
        _set_or_delete(store, _GIVEN + item_id, rest)
    return Feedback(action=Action(record["action"]), item_id=item_id, value=record["value"], time=record["time"])


def closed(store: Store) -> Closed:
    """Everything that the person closed and did not take back."""
    items, providers, topics = (
        frozenset(name.removeprefix(prefix) for name in store.values(prefix)) for prefix in (_ITEM, _PROVIDER, _TOPIC)
    )
    return Closed(items, providers, topics)


def switch(store: Store, what: Literal["item", "provider", "topic"], name: str, *, off: bool) -> None:
    """Close an item, a provider or a topic, or open it again whatever it was closed by.

    name: as `closed` has it; an item by its id.
    """
    _set_or_delete(store, f"{_CLOSED}{what}.{name}", [_SWITCH] if off else [])


def forget_gone(store: Store) -> None:
    """Drop what is known of feedback whose event is past retention; what it closed stays closed."""
    with store.transaction():
        kept = {stored.id for stored in store.events()}
        for name, given in store.values(_GIVEN).items():
            rest = [record for record in given if record["id"] in kept]
            if len(rest) < len(given):
                _set_or_delete(store, name, rest)


def _event(feedback: Feedback) -> Event:
    return Event(
        user_id=OWNER,
        item_id=feedback.item_id,
        timestamp=feedback.time,
        kind=feedback.kind,
        value=1.0 if feedback.action is Action.FINISH else feedback.value,
    )


def _closes(feedback: Feedback, item: Item) -> Iterator[str]:
    """The names of what a feedback closes."""
    if feedback.kind in (Kind.HIDE, Kind.BLOCK):
        yield _ITEM + item.item_id
    if feedback.action is Action.BLOCK and item.provider:
        yield _PROVIDER + item.provider
    if feedback.action is Action.NOT_THIS_TOPIC and item.category:
        yield _TOPIC + item.category


def _repeated(feedback: Feedback, given: list[dict[str, Any]]) -> int | None:
    """The id of the same feedback where it stands already or was given a moment ago."""
    for record in reversed(given):
        if (record["action"], record["value"]) == (feedback.action, feedback.value):
            moment = abs(feedback.time - record["time"]) <= _DOUBLE_CLICK_SECONDS
            if moment or feedback.action in _STANDING:
                return int(record["id"])
    return None


def _find(store: Store, feedback_id: int | None) -> tuple[str, dict[str, Any]] | None:
    records = [(name.removeprefix(_GIVEN), record) for name, given in store.values(_GIVEN).items() for record in given]
    if feedback_id is None:
        decided = [found for found in records if Action(found[1]["action"]) not in _PASSING]
        return max(decided, key=lambda found: int(found[1]["id"]), default=None)
    return next((found for found in records if found[1]["id"] == feedback_id), None)


def _given(store: Store, item_id: str) -> list[dict[str, Any]]:
    return list(store.value(_GIVEN + item_id, []))


def _set_or_delete(store: Store, name: str, ids: list[Any]) -> None:
    if ids:
        store.set_value(name, ids)
    else:
        store.delete_value(name)


def _require_rating(value: float | None) -> None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if value is None or not sound or not 0 <= value <= _BEST_RATING:
        raise DataError(f"A `rate` needs a value from 0 to {_BEST_RATING:g}.")
