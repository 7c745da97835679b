"""A device's record of what it has spent: a chain like the server's, kept in the encrypted store."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fedrec.data.store.folder import usable
from fedrec.data.store.locks import Lock
from fedrec.data.store.store import Store
from fedrec.errors import RefusedError
from fedrec.privacy.chain import Chain

_LOCK_FILE = "ledger.lock"


class DeviceLedger:
    """The ledger of a store, held open by one process at a time; read and written like `Ledger`.

    Opening verifies the whole chain. Raises VerificationError if a line was edited or
    removed, RefusedError if another process holds it. Whoever puts an older copy of the
    whole store back is not caught here; the server counts participations too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        path = store.folder / _LOCK_FILE
        with usable(store.folder):
            self._lock = Lock(path)
        try:
            if not self._lock.take():
                raise RefusedError(f"{path} is in use by another process. Wait for it, or stop it.")
            self._chain = _read(store)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others hold the ledger; the store stays open."""
        self._lock.close()

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The events so far, oldest first."""
        return self._chain.events

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
        self.append_all([event])

    def append_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Put events on the disk, all of them or none; when this returns, they are recorded."""
        chain, lines = self._chain.continued(events)
        self._store.append_ledger_lines(len(self._chain), [line.decode() for line in lines])
        self._chain = chain


def read_device_events(store: Store) -> list[dict[str, Any]]:
    """The events of a store's ledger, its chain verified."""
    return _read(store).events


def device_ledger_head(store: Store) -> str:
    """The head hash of a store's ledger, its chain verified."""
    return _read(store).head


def _read(store: Store) -> Chain:
    return Chain.of((line.encode() for line in store.ledger_lines()), where=store.path)
