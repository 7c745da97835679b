"""What a service writes about itself: JSON lines with known fields only, in files that do not grow for ever.

A field that is not listed here is left out: nothing of a person or a device comes into a log by accident.
"""

import logging
import os
import shutil
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

_FIELDS = frozenset(
    {
        "event",
        "level",
        "time",
        "part",
        "program",
        "catalogue",
        "run",
        "round",
        "rounds",
        "phase",
        "wish",
        "status",
        "release",
        "pid",
        "code",
        "signal",
        "attempt",
        "seconds",
        "days",
        "count",
        "bytes",
        "problem",
        "file",
    }
)
MOST_BYTES = 10 << 20
KEPT = 5


def open_log(path: Path, *, part: str) -> FilteringBoundLogger:
    """A log that appends JSON lines to `path`, for its owner alone; old ones are kept as `path.1` and so on.

    part: who speaks. A line that cannot be written, as on a full disk, is lost and stops nobody.
    """
    made: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(path),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _only_known,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        part=part,
    )
    return made


def rotate(path: Path) -> None:
    """A file that a program appends to starts anew when it has grown too long; a few old ones are kept.

    The program keeps it open, so it is copied and emptied; lines that come in between are lost.
    """
    if _is_long(path):
        _shift(path)
        shutil.copy(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


class _Lines:
    """A file of lines, opened for each: there are few of them, and no process holds on to a file that was moved."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def msg(self, line: str) -> None:
        """Append a line, if that can be done."""
        with suppress(OSError):
            if _is_long(self._path):
                _shift(self._path)
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, f"{line}\n".encode())
            finally:
                os.close(handle)

    debug = info = warning = error = critical = msg


def _is_long(path: Path) -> bool:
    return path.exists() and path.stat().st_size >= MOST_BYTES


def _shift(path: Path) -> None:
    """Older files move on by one, and the oldest is gone."""
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))


def _only_known(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in event.items() if name in _FIELDS}
