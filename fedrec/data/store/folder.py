"""The folder of a store: whose turn it is, how a store is made whole, and where a damaged one goes."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedrec.data.store.connection import WAIT_SECONDS, connect, speaking
from fedrec.data.store.keys import NAMES_FILE, KeySource, new_key, read_names, write_names
from fedrec.data.store.locks import held
from fedrec.data.store.schema import migrate
from fedrec.errors import DataError, FedrecError, VerificationError
from fedrec.files import sync_folder

STORE_FILE = "store.db"
# Held shared by whoever has the store open, and alone by who makes it or sets it aside.
IN_USE_FILE = "store.lock"
# Held alone while a store is made, opened, or given another key.
_TURN_FILE = "store.turn"
_DRAFT_FILE = "store.db.draft"
_DAMAGED = "store.db.damaged-"


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Nobody else makes, opens or re-keys the store while the block runs."""
    with usable(folder), held(folder / _TURN_FILE, wait=WAIT_SECONDS):
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


def make_store(folder: Path, source: KeySource) -> None:
    """A whole empty store takes its name in `folder` at once; what a kill left of one before is replaced.

    Raises DataError if there is a store already.
    """
    with usable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    with turn(folder):
        if (folder / STORE_FILE).exists():
            raise DataError(f"{folder / STORE_FILE} exists already. Open it, or choose another folder.")
        # A process that still has a deleted store open would write into the log of the new one.
        with held(folder / IN_USE_FILE, wait=0.0):
            _make(folder, source)


def _make(folder: Path, source: KeySource) -> None:
    for leftover in folder.glob(f"{STORE_FILE}*"):
        if not leftover.name.startswith(_DAMAGED):
            leftover.unlink()
    name, key = new_key()
    write_names(folder / NAMES_FILE, [name])
    source.write(name, key)
    _write_empty(folder / _DRAFT_FILE, key)
    (folder / _DRAFT_FILE).replace(folder / STORE_FILE)
    sync_folder(folder)


def _write_empty(path: Path, key: bytes) -> None:
    """An empty store of today's schema, on the disk."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with speaking(path):
        connection = connect(path, key)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def set_aside(folder: Path) -> VerificationError:
    """The damaged store has another name; the error that says so. Nobody may have it open."""
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


def has_damaged(folder: Path) -> bool:
    """Whether a store was set aside here, with all that it knew."""
    return any(folder.glob(f"{_DAMAGED}*"))


def forget_damaged(folder: Path, source: KeySource) -> None:
    """What was set aside is deleted, and the keys that open it are destroyed."""
    with turn(folder):
        in_use = read_names(folder / NAMES_FILE)
        for path in sorted(folder.glob(f"{_DAMAGED}*")):
            if path.name.endswith(".json"):
                # One that cannot be read names no key; it must not keep a person from erasing.
                with suppress(FedrecError):
                    for name in set(read_names(path)) - set(in_use):
                        source.forget(name)
            path.unlink()
        sync_folder(folder)
