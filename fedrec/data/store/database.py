"""The encrypted file under the store: opening, transactions, and a change of key that survives a kill.

Several processes may hold it open. Its key is changed in place, in one transaction of the
database: who meets pages that its key does not open asks for the key anew.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from fedrec.data.store.connection import DamagedError, change_key, connect, speaking
from fedrec.data.store.folder import IN_USE_FILE, STORE_FILE, forget_damaged, set_aside, turn
from fedrec.data.store.keys import NAMES_FILE, KeySource, new_key, read_keys, read_names, write_names
from fedrec.data.store.locks import Lock
from fedrec.data.store.schema import migrate, schema_version
from fedrec.errors import DataError, FedrecError, RefusedError, VerificationError

T = TypeVar("T")


class Database:
    """An open encrypted file; safe among threads, one at a time."""

    def __init__(self, folder: Path, source: KeySource) -> None:
        self.folder = folder
        self.path = folder / STORE_FILE
        self._lock = threading.RLock()
        self._source = source
        self._depth = 0
        self._durable = False
        self._versions_before = 0
        self._last_version = 0
        self._names: list[str] = []
        self._connection: Any = None
        self._in_use: Lock | None = None

    @classmethod
    def open(cls, folder: Path, source: KeySource) -> Self:
        """The store in `folder`, checked page by page; an interrupted change of key is finished.

        Raises DataError if there is no store or no key, VerificationError for a damaged file,
        which is set aside.
        """
        if not (folder / STORE_FILE).exists():
            raise DataError(f"There is no store in {folder}. Make one with `fedrec client init {folder}`.")
        with turn(folder):
            database = cls(folder, source)
            try:
                database._take()
                database._connect()
                database._require_sound()
            except DamagedError:
                raise database._given_up() from None
            except BaseException:
                database.close()
                raise
        return database

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            if self._connection is not None:
                with speaking(self.path):
                    self._connection.close()
                self._connection = None
            if self._in_use is not None:
                self._in_use.close()
                self._in_use = None

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """What the block writes is kept as a whole or not at all; nested blocks join the outer one.

        durable: on the disk when the block ends, whatever happens to the power then. Raises
        RefusedError if a durable block would join one that is not.
        """
        with self._lock:
            if self._depth and durable and not self._durable:
                raise RefusedError("A durable write cannot join a plain transaction. Open that one with durable=True.")
            if not self._depth:
                self._retrying(lambda: self._begin(durable))
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if not self._depth:
                    self._end("ROLLBACK")
                raise
            self._depth -= 1
            if not self._depth:
                self._commit()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._lock:
            return self._retrying(lambda: self._open().execute(query, values).fetchall())

    def write(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Run a statement within a transaction; returns its cursor."""
        with self.transaction(), speaking(self.path):
            return self._open().execute(statement, values)

    def write_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for every row, in one transaction."""
        with self.transaction(), speaking(self.path):
            self._open().executemany(statement, rows)

    def data_version(self) -> int:
        """A number that changes when another connection, of this or another process, wrote."""
        with self._lock:
            version = int(self.rows("PRAGMA data_version")[0][0])
            self._last_version = self._versions_before + version
            return self._last_version

    def vacuum(self) -> None:
        """Rewrite the file without its free pages."""
        with self._lock:
            self._require_no_transaction()
            self._retrying(lambda: self._open().execute("VACUUM"))

    def rotate_key(self) -> None:
        """The store is under a fresh key, and the old one is destroyed.

        A kill on the way leaves the old or the new key working; opening finishes or undoes it.
        """
        with self._lock, turn(self.folder):
            self._require_no_transaction()
            self._connect()
            name, key = new_key()
            # Named before it is kept, and forgotten while it is named: no kill leaves a key that nobody knows of.
            write_names(self.folder / NAMES_FILE, [*self._names, name])
            self._source.write(name, key)
            try:
                change_key(self._open(), key, path=self.path)
            finally:
                # Whether it failed or not: settle on the key that works now. This connection must not write
                # again, as after a failed change it would write pages under the key that was not taken.
                self._connect()

    def forget_damaged(self) -> None:
        """Delete what was set aside in this folder, and destroy the keys that open it."""
        forget_damaged(self.folder, self._source)

    def _take(self) -> None:
        """Others see that the store is in use. The turn must be held."""
        self._in_use = Lock(self.folder / IN_USE_FILE)
        if not self._in_use.take(shared=True):
            raise RefusedError(f"{self.path} is held by another process. Stop it and try again.")

    def _given_up(self) -> VerificationError:
        """Closed, and set aside if nobody else has it open: its log would be taken from under them."""
        alone = self._in_use is not None and self._in_use.take()
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if alone:
                return set_aside(self.folder)
            return VerificationError(
                f"{self.path} is damaged, and another process has it open. Stop that one and open it again."
            )
        finally:
            self.close()

    def _open(self) -> Any:
        if self._connection is None:
            raise DataError(f"{self.path} is closed. Open the store again.")
        return self._connection

    def _checkpoint(self) -> bool:
        return bool(self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)

    def _begin(self, durable: bool) -> None:
        if durable != self._durable:
            self._open().execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._open().execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        try:
            self._end("COMMIT")
        except BaseException:
            self._end("ROLLBACK")
            raise
        if self._durable:
            # Into the file, whose pages are authenticated: what a damaged log holds is lost without a word.
            with suppress(FedrecError), speaking(self.path):
                self._checkpoint()

    def _end(self, how: str) -> None:
        with speaking(self.path):
            # A full disk rolls back by itself: then there is nothing to undo, and a commit must fail.
            if how == "COMMIT" or self._open().in_transaction:
                self._open().execute(how)

    def _require_no_transaction(self) -> None:
        if self._depth:
            raise RefusedError("This cannot happen within a transaction. End it first.")

    def _retrying(self, action: Callable[[], T]) -> T:
        """What `action` returns; asked once more where another process has changed the key."""
        try:
            with speaking(self.path):
                return action()
        except DamagedError:
            if self._depth or self._connection is None or read_names(self.folder / NAMES_FILE) == self._names:
                raise
            with turn(self.folder):
                self._connect()
            with speaking(self.path):
                return action()

    def _connect(self) -> None:
        """Connected under the key that works; the only one that is left. The turn must be held."""
        if self._connection is not None:
            # A new connection counts from one again.
            self._versions_before = self._last_version
            self._connection.close()
            self._connection = None
        keys = read_keys(self.folder, self._source)
        names = read_names(self.folder / NAMES_FILE)
        name = self._connect_with_one_of(keys)
        if name is None and len(keys) < len(names):
            raise DataError(f"A key of the store in {self.folder} is missing. Restore {self._source.place}.")
        if name is None:
            raise DamagedError(self.path)
        self._durable = False
        if names != [name]:
            # Every page is under the working key, in the file too, before the other key goes.
            if not self._checkpoint():
                raise RefusedError(f"{self.path} is being read by another process. Try again, or stop it.")
            for other in set(names) - {name}:
                self._source.forget(other)
            write_names(self.folder / NAMES_FILE, [name])
        self._names = [name]

    def _connect_with_one_of(self, keys: Mapping[str, bytes]) -> str | None:
        """The name of the key that opens the file; None where none does."""
        for name, key in keys.items():
            with suppress(DamagedError):
                self._connection = connect(self.path, key)
                return name
        return None

    def _require_sound(self) -> None:
        """Raise DamagedError unless every page in use is authentic and in its place; bring the tables up to date."""
        with speaking(self.path):
            if schema_version(self._connection) == 0:
                raise DamagedError(self.path)
            if self._connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise DamagedError(self.path)
            migrate(self._connection)
