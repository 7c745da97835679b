"""The encrypted file under the store: opening, transactions, and a change of key that survives a kill.

Several processes may hold it open. Its key is changed in place, in one transaction of the
database: who meets pages that its key does not open asks for the key anew.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from fedrec.data.store.connection import WAIT_SECONDS, DamagedError, change_key, connect, speaking
from fedrec.data.store.keys import NAMES_FILE, KeySource, new_key, read_keys, read_names, write_names
from fedrec.data.store.locks import Lock, held
from fedrec.data.store.schema import migrate, schema_version
from fedrec.errors import DataError, FedrecError, RefusedError, VerificationError
from fedrec.files import sync_folder

STORE_FILE = "store.db"
_DRAFT_FILE = "store.db.draft"
_DAMAGED = "store.db.damaged-"
# Held shared by whoever has the store open, and alone by who sets it aside.
_IN_USE = "store.lock"
# Held alone while a store is made, opened, or given another key.
_TURN = "store.turn"

T = TypeVar("T")


class Database:
    """An open encrypted file; safe among threads, one at a time."""

    def __init__(self, folder: Path, source: KeySource) -> None:
        self.folder = folder
        self.path = folder / STORE_FILE
        self.lock = threading.RLock()
        self._source = source
        self._depth = 0
        self._durable = False
        self._versions_before = 0
        self._last_version = 0
        self._names: list[str] = []
        self._connection: Any = None
        self._in_use: Lock | None = None

    @classmethod
    def create(cls, folder: Path, source: KeySource) -> Self:
        """A new, empty store; a part of one that a kill left behind is replaced.

        Raises DataError if there is a store already.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with _turn(folder):
            if (folder / STORE_FILE).exists():
                raise DataError(f"{folder / STORE_FILE} exists already. Open it, or choose another folder.")
            # A process that still has a deleted store open would write into the new one's log.
            with held(folder / _IN_USE, wait=0.0):
                _make(folder, source)
        return cls.open(folder, source)

    @classmethod
    def open(cls, folder: Path, source: KeySource) -> Self:
        """The store in `folder`, checked page by page; an interrupted change of key is finished.

        Raises DataError if there is no store or no key, VerificationError for a damaged file,
        which is set aside.
        """
        if not (folder / STORE_FILE).exists():
            raise DataError(f"There is no store in {folder}. Make one with `fedrec client init {folder}`.")
        database = cls(folder, source)
        with _turn(folder):
            database._in_use = Lock(folder / _IN_USE)
            try:
                if not database._in_use.take(shared=True, wait=WAIT_SECONDS):
                    raise RefusedError(f"{database.path} is being set aside by another process. Try again.")
                database._connect()
                database._require_sound()
            except DamagedError:
                alone = database._in_use.take()
                database.close()
                raise (
                    _set_aside(folder)
                    if alone
                    else VerificationError(
                        f"{database.path} is damaged, and another process has it open. Stop that one and open it again."
                    )
                ) from None
            except BaseException:
                database.close()
                raise
        return database

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self.lock:
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
        with self.lock:
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
        with self.lock:
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
        with self.lock:
            version = int(self.rows("PRAGMA data_version")[0][0])
            self._last_version = self._versions_before + version
            return self._last_version

    def checkpoint(self) -> bool:
        """Move what the write-ahead log holds into the file and empty it; False where a reader is in the way."""
        with self.lock:
            return self._retrying(self._checkpoint)

    def vacuum(self) -> None:
        """Rewrite the file without its free pages."""
        with self.lock:
            self._require_no_transaction()
            self._retrying(lambda: self._open().execute("VACUUM"))

    def rotate_key(self) -> None:
        """The store is under a fresh key, and the old one is destroyed.

        A kill on the way leaves the old or the new key working; opening finishes or undoes it.
        """
        with self.lock, usable(self.folder), _turn(self.folder):
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

    def damaged_files(self) -> list[Path]:
        """Files that were set aside in this folder."""
        return sorted(self.folder.glob(f"{_DAMAGED}*"))

    def forget_damaged(self) -> None:
        """Delete what was set aside, and the keys that open it."""
        for path in self.damaged_files():
            if path.name.endswith(".json"):
                with suppress(FedrecError):
                    for name in set(read_names(path)) - set(self._names):
                        self._source.forget(name)
            path.unlink()

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
            with _turn(self.folder):
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


def _make(folder: Path, source: KeySource) -> None:
    """A whole empty store takes its name in `folder` at once; its key is kept before."""
    draft = folder / _DRAFT_FILE
    for leftover in folder.glob(f"{STORE_FILE}*"):
        if not leftover.name.startswith(_DAMAGED):
            leftover.unlink()
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    name, key = new_key()
    write_names(folder / NAMES_FILE, [name])
    source.write(name, key)
    with speaking(draft):
        connection = connect(draft, key)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
    draft.replace(folder / STORE_FILE)
    sync_folder(folder)


def _set_aside(folder: Path) -> VerificationError:
    """The damaged file has another name; the error that says so. Nobody else may have it open."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    endings = ("" if number == 1 else f"-{number}" for number in itertools.count(1))
    aside = next(path for ending in endings if not (path := folder / f"{_DAMAGED}{stamp}{ending}").exists())
    # Copied first: whatever interrupts this, the name of its key stays beside the damaged file.
    write_names(folder / f"{aside.name}.json", read_names(folder / NAMES_FILE))
    for suffix in ("-wal", "-shm"):
        beside = folder / f"{STORE_FILE}{suffix}"
        if beside.exists():
            beside.replace(folder / f"{aside.name}{suffix}")
    (folder / STORE_FILE).replace(aside)
    (folder / NAMES_FILE).unlink()
    sync_folder(folder)
    return VerificationError(
        f"{folder / STORE_FILE} is damaged and was set aside as {aside.name}. Restore it from a copy, or start "
        f"anew with `fedrec client init {folder}`."
    )


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    with held(folder / _TURN, wait=WAIT_SECONDS):
        yield


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """What the system refuses in the folder is told in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder} cannot be used ({error.strerror}). Give this user the right to write there, and room."
        ) from None
