"""Events as rows of the store: what is accepted, and what comes back is what went in."""

import json
import math
import operator
from dataclasses import dataclass
from typing import Any

from fedrec.data.events import Event, Kind
from fedrec.errors import DataError

# The person who holds the device: the store knows nobody else.
OWNER = "me"
LONGEST_TEXT = 10_000
LONGEST_NAME = 1_000
# The last second of the year 9999, beyond which no calendar goes.
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event and the number that the store gave it; numbers are never given twice."""

    id: int
    event: Event


def event_row(event: Event) -> tuple[str | None, int, str, float | None, str | None, str | None]:
    """An event as item, time, kind, value, text and context; DataError says what cannot be kept."""
    return (
        None if event.item_id is None else checked_name(event.item_id, what="item id"),
        checked_time(event.timestamp),
        _checked_kind(event.kind),
        None if event.value is None else _checked_value(event.value),
        None if event.text is None else _checked_text(event.text, what="text", longest=LONGEST_TEXT),
        None if event.context is None else _checked_text(event.context, what="context", longest=LONGEST_NAME),
    )


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """The event of a row: its number, then the columns of `event_row`."""
    number, item, time, kind, value, text, context = row
    event = Event(user_id=OWNER, item_id=item, timestamp=time, kind=Kind(kind), value=value, text=text, context=context)
    return StoredEvent(id=number, event=event)


def checked_name(name: str, *, what: str) -> str:
    """A name that can be kept: not empty, at most 1,000 characters, of real characters."""
    if not name:
        raise DataError(f"An empty {what} cannot be stored. Leave it out or name it.")
    return _checked_text(name, what=what, longest=LONGEST_NAME)


def checked_time(time: int) -> int:
    """A time in whole seconds since 1970, up to the year 9999."""
    try:
        seconds = operator.index(time)
    except TypeError:
        raise DataError(f"A time of {time!r} cannot be stored. Give whole seconds since 1970 in UTC.") from None
    if not 0 <= seconds <= _LAST_SECOND:
        raise DataError(f"A time of {seconds} s is not between 1970 and 9999. Give seconds since 1970 in UTC.")
    return seconds


def checked_json(name: str, content: object) -> str:
    """A setting as JSON that reads back equal; DataError names the setting that cannot be kept."""
    try:
        return json.dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"The setting {name} is not JSON. Use text, finite numbers, lists and objects.") from None


def _checked_kind(kind: Kind) -> str:
    try:
        return Kind(kind).value
    except (ValueError, TypeError):
        raise DataError(f"There is no such kind of event. Use one of {', '.join(Kind)}.") from None


def _checked_value(value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError("An event's value is not a finite number. Give one, or none.")
    return number


def _checked_text(text: str, *, what: str, longest: int) -> str:
    if not isinstance(text, str):
        raise DataError(f"A {what} of type {type(text).__name__} cannot be stored. Give text.")
    if len(text) > longest:
        raise DataError(f"A {what} of {len(text)} characters cannot be stored. Give at most {longest}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"A {what} with half a surrogate pair cannot be stored. Give real characters.") from None
    return text
