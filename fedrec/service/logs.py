"""What a service writes about itself: JSON lines with known fields only, in files that do not grow for ever.

A field that is not listed here is left out: nothing of a person or a device comes into a log by accident.
"""

import logging
import os
import shutil
from collections.abc import MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

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


def open_log(path: Path, *, part: str) -> structlog.typing.FilteringBoundLogger:
    """A log that appends JSON lines to `path`, for its owner alone; old ones are kept as `path.1` and so on.

    part: who speaks. A line that cannot be written, as on a full disk, is lost and stops nobody.
    """
    handler = _OwnersFile(path, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8", delay=True)
    logger = logging.Logger(f"fedrec.{part}")
    logger.addHandler(handler)
    made: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        logger,
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
    if not path.exists() or path.stat().st_size < MOST_BYTES:
        return
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copy(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


class _OwnersFile(RotatingFileHandler):
    """A rotating file that only its owner reads, and whose faults are nobody else's."""

    def _open(self) -> Any:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(handle, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A line that cannot be written is lost."""


def _only_known(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in event.items() if name in _FIELDS}
