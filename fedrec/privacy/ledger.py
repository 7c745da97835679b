"""An append-only record of privacy spending: what was drawn, never an epsilon.

One JSON object per line; each holds the hash of the one before, and is on the disk
(fsync) before `append` returns. Epsilon is recomputed from the events.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedrec.errors import RefusedError, VerificationError
from fedrec.files import sync_folder

GENESIS = "0" * 64


class Ledger:
    """A ledger file held open by one process at a time.

    Opening verifies the whole chain and cuts off a torn last line, whose `append` never
    returned; a whole last entry that lacks only its line end counts as spent. seal: told
    every new head, after its entry is on the disk. Raises VerificationError if a line was
    edited or removed, RefusedError if another process writes the file.
    """

    def __init__(self, path: Path, *, seal: Callable[[str], None] = lambda _: None) -> None:
        self._seal = seal
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RefusedError(f"{path} is in use by another process. Wait for it, or stop it.") from None
        try:
            self._entries, length = _read(path)
            self._keep(length)
            sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

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
        return chain_head(self._entries)

    @property
    def hashes(self) -> set[str]:
        """Every head that this ledger has had, the empty one's included."""
        return {GENESIS, *(entry["hash"] for entry in self._entries)}

    def append(self, event: Mapping[str, Any]) -> None:
        """Put an event on the disk; when this returns, the spending is recorded."""
        line = next_line(self._entries, event)
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._entries.append(json.loads(line))
        self._seal(self.head)

    def _keep(self, length: int) -> None:
        """Cut a torn end off, or give a whole last entry the line end that it lacks."""
        self._file.truncate(length)
        self._file.seek(max(0, length - 1))
        if self._file.read(1) not in (b"", b"\n"):
            self._file.write(b"\n")
            self._file.flush()


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a ledger file, its chain verified; an absent file is an empty ledger."""
    return [entry["event"] for entry in _read(path)[0]] if path.exists() else []


def ledger_head(path: Path) -> str:
    """The head hash of a ledger file, its chain verified."""
    return chain_head(_read(path)[0] if path.exists() else [])


def chain_head(entries: Sequence[Mapping[str, Any]]) -> str:
    """The hash of the last entry of a chain."""
    return str(entries[-1]["hash"]) if entries else GENESIS


def next_line(entries: Sequence[Mapping[str, Any]], event: Mapping[str, Any]) -> bytes:
    """The line, without its end, of the entry that continues a chain with this event."""
    entry = {"seq": len(entries), "prev": chain_head(entries), "event": dict(event)}
    entry["hash"] = _hash(entry)
    return _line(entry)


def chained_entries(lines: Iterable[bytes], *, where: Path) -> list[dict[str, Any]]:
    """The entries of a chain's lines, oldest first.

    where: named in the VerificationError, if a line was edited, moved or damaged.
    """
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
            follows = entry["seq"] == number and entry["prev"] == chain_head(entries) and entry["hash"] == _hash(entry)
            intact = follows and line == _line(entry)
        except (ValueError, KeyError, TypeError, RecursionError):
            intact = False
        if not intact:
            raise VerificationError(
                f"{where}: entry {number} does not continue the chain: it was edited, moved or damaged. "
                "Restore the ledger from a copy; nothing can be released on this one."
            )
        entries.append(entry)
    return entries


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries, and how many bytes they take; what is behind them is a torn `append`."""
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    whole = _holds_an_entry(rest)
    if whole:
        lines.append(rest)
    return chained_entries(lines, where=path), len(content) if whole else len(content) - len(rest)


def _holds_an_entry(rest: bytes) -> bool:
    """Whether a whole entry is in what follows the last line end: then it is no torn `append`."""
    try:
        json.JSONDecoder().raw_decode(rest.decode(errors="replace"))
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True).encode()


def _hash(entry: Mapping[str, Any]) -> str:
    body = {key: entry[key] for key in ("seq", "prev", "event")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
