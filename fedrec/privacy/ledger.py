"""An append-only record of privacy spending: what was drawn, never an epsilon.

One JSON object per line; each holds the hash of the one before, and is on the disk
(fsync) before `append` returns. Epsilon is recomputed from the events.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedrec.errors import RefusedError, VerificationError

GENESIS = "0" * 64


class Ledger:
    """A ledger file held open by one process at a time.

    Opening verifies the whole chain and cuts off a torn last line, whose `append` never
    returned. Raises VerificationError if a line was edited or removed, RefusedError if
    another process writes the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RefusedError(f"{path} is in use by another process. Wait for it, or stop it.") from None
        self._entries, length = _read(path)
        self._file.truncate(length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file to other processes."""
        self._file.close()

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The events so far, oldest first."""
        return [entry["event"] for entry in self._entries]

    @property
    def head(self) -> str:
        """The hash of the last entry, which vouches for all before it."""
        return self._entries[-1]["hash"] if self._entries else GENESIS

    def append(self, event: Mapping[str, Any]) -> None:
        """Put an event on the disk; when this returns, the spending is recorded."""
        entry = {"seq": len(self._entries), "prev": self.head, "event": dict(event)}
        entry["hash"] = _hash(entry)
        self._file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._entries.append(entry)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a ledger file, its chain verified; an absent file is an empty ledger."""
    return [entry["event"] for entry in _read(path)[0]] if path.exists() else []


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    content = path.read_bytes()
    length = content.rfind(b"\n") + 1
    entries: list[dict[str, Any]] = []
    previous = GENESIS
    for number, line in enumerate(content[:length].splitlines()):
        try:
            entry = json.loads(line)
            intact = entry["seq"] == number and entry["prev"] == previous and entry["hash"] == _hash(entry)
        except (ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise VerificationError(
                f"{path}: entry {number} does not continue the chain: it was edited, moved or damaged. "
                "Restore the ledger from a copy; nothing can be released on this one."
            )
        entries.append(entry)
        previous = entry["hash"]
    return entries, length


def _hash(entry: Mapping[str, Any]) -> str:
    body = {key: entry[key] for key in ("seq", "prev", "event")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
