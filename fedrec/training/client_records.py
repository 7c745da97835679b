"""What a client keeps between rounds: its ledger and its last reply, in files of a folder or in a device's store."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fedrec.data.store.store import Store
from fedrec.errors import RefusedError
from fedrec.files import write_atomically
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.device_ledger import DeviceLedger, read_device_events
from fedrec.privacy.ledger import Ledger, read_events

_REPLY = "reply"
_SESSION = "session"


class ClientRecords(Protocol):
    """The client's ledger is the authority on what this client has spent."""

    def open_ledger(self) -> AbstractContextManager[Ledger | DeviceLedger]:
        """The ledger, held until the block ends; raises RefusedError if another process holds it."""
        ...

    def spent(self) -> list[dict[str, Any]]:
        """The ledger's events, oldest first."""
        ...

    def reply(self, token: str) -> tuple[FlatAdapter, int] | None:
        """The stored reply to an attempt at a round and how often it was paid for, if it was answered."""
        ...

    def keep(self, token: str, update: FlatAdapter, *, attempts: int) -> None:
        """Put a reply on the disk before it is sent."""
        ...

    def session(self, token: str) -> bytes | None:
        """What was kept last of an attempt at a round under masks."""
        ...

    def keep_session(self, token: str, content: bytes, *, before: bytes | None) -> None:
        """Put what a round under masks needs on the disk before anything of it is sent; an earlier one is gone.

        before: what `session` gave. Raises RefusedError where that is not there any more: another process answered.
        """
        ...


class FolderRecords:
    """Plain files in a folder that stands for a simulated client's device."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger.jsonl"
        self._reply = folder / "reply.bin"
        self._session = folder / "session.bin"

    def open_ledger(self) -> Ledger:
        """See `ClientRecords`."""
        return Ledger(self.ledger)

    def spent(self) -> list[dict[str, Any]]:
        """See `ClientRecords`."""
        return read_events(self.ledger)

    def reply(self, token: str) -> tuple[FlatAdapter, int] | None:
        """See `ClientRecords`."""
        return _unpack(self._reply.read_bytes(), token) if self._reply.exists() else None

    def keep(self, token: str, update: FlatAdapter, *, attempts: int) -> None:
        """See `ClientRecords`."""
        write_atomically(self._reply, _pack(token, update, attempts), mode=0o600)

    def session(self, token: str) -> bytes | None:
        """See `ClientRecords`."""
        return _of_session(self._session.read_bytes(), token) if self._session.exists() else None

    def keep_session(self, token: str, content: bytes, *, before: bytes | None) -> None:
        """See `ClientRecords`; of two processes at the same moment nobody is told."""
        _require_same(self.session(token), before)
        write_atomically(self._session, token.encode() + b"\n" + content, mode=0o600)

    def erase(self) -> None:
        """Forget what was replied; the ledger stays: its entries tell of no content, and spent is spent."""
        self._reply.unlink(missing_ok=True)
        self._session.unlink(missing_ok=True)


class StoredRecords:
    """In the device's encrypted store. before_keeping: raises where a reply is not wanted any more."""

    def __init__(self, store: Store, *, before_keeping: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._before_keeping = before_keeping

    def open_ledger(self) -> DeviceLedger:
        """See `ClientRecords`."""
        return DeviceLedger(self._store)

    def spent(self) -> list[dict[str, Any]]:
        """See `ClientRecords`."""
        return read_device_events(self._store)

    def reply(self, token: str) -> tuple[FlatAdapter, int] | None:
        """See `ClientRecords`."""
        kept = self._store.blob(_REPLY)
        return _unpack(kept, token) if kept else None

    def keep(self, token: str, update: FlatAdapter, *, attempts: int) -> None:
        """See `ClientRecords`."""
        with self._store.transaction(durable=True):
            self._before_keeping()
            self._store.set_blob(_REPLY, _pack(token, update, attempts))

    def session(self, token: str) -> bytes | None:
        """See `ClientRecords`."""
        kept = self._store.blob(_SESSION)
        return _of_session(kept, token) if kept else None

    def keep_session(self, token: str, content: bytes, *, before: bytes | None) -> None:
        """See `ClientRecords`."""
        with self._store.transaction(durable=True):
            self._before_keeping()
            _require_same(self.session(token), before)
            self._store.set_blob(_SESSION, token.encode() + b"\n" + content)


def _require_same(found: bytes | None, before: bytes | None) -> None:
    if found != before:
        raise RefusedError("Another process of this client answers in this round. This one stays out of it.")


def _of_session(kept: bytes, token: str) -> bytes | None:
    name, _, content = kept.partition(b"\n")
    return content if name == token.encode() else None


def _pack(token: str, update: FlatAdapter, attempts: int) -> bytes:
    head = json.dumps({"token": token, "attempts": attempts}).encode()
    return head + b"\n" + update.astype("<f4").tobytes()


def _unpack(content: bytes, token: str) -> tuple[FlatAdapter, int] | None:
    head, _, body = content.partition(b"\n")
    about = json.loads(head)
    return (np.frombuffer(body, dtype="<f4"), about["attempts"]) if about["token"] == token else None
