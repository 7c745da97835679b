"""How many devices may be shown: no group smaller than the smallest one, and none that subtracting would tell.

How many were asked follows from the settings, so a single hidden count would be what is missing
from the others. Where one is hidden, another is given as a lower bound, which leaves every size
of the hidden ones possible; where not even that can be said, nothing is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

# What a round's record holds beside what became of its devices: no device is counted by these.
_NOT_DEVICES = frozenset({"overflow", "empty_group"})
# Replies over what was asked for: outside the sum of those that were asked.
_EXTRA = frozenset({"duplicate", "not_asked"})
_SILENT = "unanswered"
# More reasons to fail than one round has had.
_LAST_GROUPS = 4
_REPLIES = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number of devices. value: exactly, or None. at_least: what is certain of it. words: for people."""

    value: int | None
    at_least: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What became of those who were asked. exact: nothing of it is hidden; told: something of it is shown.

    failures: by code; empty where they would tell too much. faults: what went wrong with the
    round as a whole.
    """

    asked: Count
    replies: Count
    failures: Mapping[str, Count]
    faults: tuple[str, ...]
    exact: bool
    told: bool


def count(devices: int, *, smallest: int) -> Count:
    """A number of devices, unless it is between nothing and the smallest group.

    >>> [count(devices, smallest=5).words for devices in (0, 4, 5)]
    ['0', '<5', '5']
    """
    if 0 < devices < smallest:
        return Count(value=None, at_least=0, words=f"<{smallest}")
    return Count(value=devices, at_least=devices, words=f"{devices:,}")


def so_far(devices: int, *, of: int, smallest: int) -> Count:
    """Replies that still come in, in steps of the smallest group, the last few of them never.

    Else the last step before a round ends would tell what is hidden of the finished round.

    >>> [so_far(devices, of=100, smallest=5).words for devices in (0, 4, 64, 100)]
    ['0', 'counted when the round ends', '60 or more', '80 or more']
    """
    certain = min(devices // smallest * smallest, of - _LAST_GROUPS * smallest)
    if not devices:
        return count(0, smallest=smallest)
    return _or_more(certain) if certain >= smallest else replace(_not_shown(), words="counted when the round ends")


def shares(*, asked: int, replies: int, failures: Mapping[str, int], smallest: int) -> Shares:
    """What may be shown of a finished round.

    >>> found = shares(asked=20, replies=18, failures={"timeout": 2}, smallest=5)
    >>> found.replies.words, found.failures["timeout"].words
    ('16 or more', '<5')
    """
    became = {_REPLIES: replies} | {code: lost for code, lost in failures.items() if code not in _NOT_DEVICES | _EXTRA}
    became[_SILENT] = became.get(_SILENT, 0) + max(0, asked - sum(became.values()))
    shown = _shown(became, asked=asked, smallest=smallest)
    extra = {code: count(failures[code], smallest=smallest) for code in sorted(_EXTRA & failures.keys())}
    by_code = {code: lost for code, lost in shown.items() if code != _REPLIES and lost.words != "0"}
    return Shares(
        asked=count(asked, smallest=smallest),
        replies=shown.get(_REPLIES, _not_shown()),
        failures=by_code | extra,
        faults=tuple(sorted(_NOT_DEVICES & {code for code, times in failures.items() if times})),
        exact=bool(shown) and all(each.value is not None for each in shown.values()),
        told=bool(shown),
    )


def _shown(became: Mapping[str, int], *, asked: int, smallest: int) -> dict[str, Count]:
    """Every part of a sum that is known, or nothing where its parts cannot be told apart safely."""
    hidden = [part for part, devices in became.items() if 0 < devices < smallest]
    found = {part: count(devices, smallest=smallest) for part, devices in became.items()}
    if not hidden:
        return found
    # The first by name, never the largest: which one it is must tell nothing of its size.
    large = sorted(part for part, devices in became.items() if devices >= smallest)
    others = sum(became[part] for part in large[1:])
    certain = max(asked, sum(became.values())) - others - len(hidden) * (smallest - 1)
    if not large or certain < smallest:
        return {}
    return found | {large[0]: _or_more(certain)}


def _or_more(devices: int) -> Count:
    return Count(value=None, at_least=devices, words=f"{devices:,} or more")


def _not_shown() -> Count:
    return Count(value=None, at_least=0, words="not shown")
