"""An append-only record of privacy spending: what was drawn, never an epsilon.

One JSON object per line of the chain; it is on the disk (fsync) before `append`
returns. Epsilon is recomputed from the events.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedrec.errors import RefusedError
from fedrec.files import sync_folder
from fedrec.privacy.chain import Chain
from fedrec.privacy.tally import Tally


class Ledger:
    """A ledger file held open by one process at a time.

    Opening verifies the whole chain and cuts off a torn last line, whose `append` never
    returned; a whole last entry that lacks only its line end counts as spent. seal: told
    every new head, after its entry is on the disk. Raises VerificationError if a line was
    edited or removed, RefusedError if another process writes the file.
    """

    def __init__(self, path: Path, *, seal: Callable[[str], None] = lambda _: None) -> None:
        self._seal = seal
        self._tally = Tally()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RefusedError(f"{path} is in use by another process. Wait for it, or stop it.") from None
        try:
            self._chain, length = _read(path)
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
        return self._chain.events

    @property
    def tally(self) -> Tally:
        """What each participant of a server's ledger was charged for so far."""
        self._tally.read(self.entries)
        return self._tally

    @property
    def head(self) -> str:
        """The hash of the last entry, which vouches for all before it."""
        return self._chain.head

    @property
    def hashes(self) -> set[str]:
        """Every head that this ledger has had, the empty one's included."""
        return self._chain.hashes

    def append(self, event: Mapping[str, Any]) -> None:
        """Put an event on the disk; when this returns, the spending is recorded."""
        chain, lines = self._chain.continued([event])
        self._file.write(lines[0] + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._chain = chain
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
    return _read(path)[0].events if path.exists() else []


def ledger_head(path: Path) -> str:
    """The head hash of a ledger file, its chain verified."""
    return (_read(path)[0] if path.exists() else Chain()).head


def _read(path: Path) -> tuple[Chain, int]:
    """The chain, and how many bytes it takes; what is behind it is a torn `append`."""
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    whole = _holds_an_entry(rest)
    if whole:
        lines.append(rest)
    return Chain.of(lines, where=path), len(content) if whole else len(content) - len(rest)


def _holds_an_entry(rest: bytes) -> bool:
    """Whether a whole entry is in what follows the last line end: then it is no torn `append`."""
    try:
        json.JSONDecoder().raw_decode(rest.decode(errors="replace"))
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
