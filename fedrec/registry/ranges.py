"""Which part of a file a request wants."""

import re
from typing import NamedTuple

# Sizes of files have fewer digits; a longer number is no honest one.
_PART = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class Span(NamedTuple):
    """The bytes from `start` up to `end`."""

    start: int
    end: int


def wanted_span(header: str, size: int) -> Span | None:
    """The part that a Range header asks for; None where the file has no such part.

    A header that asks for several parts, or for something else, is answered with all of it.

    >>> wanted_span("bytes=10-", 100), wanted_span("bytes=0-4", 100), wanted_span("bytes=-7", 100)
    (Span(start=10, end=100), Span(start=0, end=5), Span(start=93, end=100))
    >>> wanted_span("bytes=100-", 100), wanted_span("bytes=1-2,4-5", 100), wanted_span("", 0)
    (None, Span(start=0, end=100), Span(start=0, end=0))
    """
    part = _PART.fullmatch(header)
    if part is None or part.group(0) == "bytes=-":
        return Span(0, size)
    first, last = part.groups()
    if not first:
        return Span(max(0, size - int(last)), size) if int(last) and size else None
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return Span(0, size)
    return Span(int(first), end) if int(first) < size else None
