"""One encrypted connection, set up so that nothing leaves it in clear, and its faults in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2 as sqlcipher  # type: ignore[import-untyped, unused-ignore]

from fedrec.errors import DataError, FedrecError, RefusedError, VerificationError

# How long one process waits for another's write.
WAIT_SECONDS = 10.0
# Pages that are kept in memory, in clear.
_CACHE_KIB = 2000

# What is left of the write-ahead log after a large write.
_LOG_BYTES = 4_194_304

_BUSY = {5, 6, 15}
_DAMAGE = {11, 26}
_NOT_WRITABLE = {3, 8, 14, 23}
_FULL = 13
_IO = 10


class DamagedError(VerificationError):
    """Pages do not carry the authentication of this key: damaged, or under another key."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged. Stop what uses it and open it again: it is set aside then.")


def connect(path: Path, key: bytes) -> Any:
    """A connection whose key fits the file.

    A raw key of 256 bits, so that opening costs no key derivation. Raises DamagedError if the
    first page does not decrypt with it.
    """
    with speaking(path):
        connection = sqlcipher.connect(
            str(path), timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            # First of all, and before the key: what SQLCipher logs goes to stderr otherwise.
            connection.execute("PRAGMA cipher_log_level = NONE")
            connection.set_key(f"x'{key.hex()}'")
            # Pinned: page size, HMAC-SHA512 and AES-256 as in SQLCipher 4, whatever a later one prefers.
            connection.execute("PRAGMA cipher_compatibility = 4")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            for setting in (
                "temp_store = MEMORY",
                "secure_delete = ON",
                "foreign_keys = ON",
                "trusted_schema = OFF",
                f"cache_size = -{_CACHE_KIB}",
                f"journal_size_limit = {_LOG_BYTES}",
                "synchronous = NORMAL",
            ):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
    return connection


def change_key(connection: Any, key: bytes, *, path: Path) -> None:
    """Every page is under `key`, in one transaction that is on the disk; the salt stays.

    Raises RefusedError where it is not; the connection must be closed either way.
    """
    with speaking(path):
        connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.reset_key(f"x'{key.hex()}'")
    except sqlcipher.Error as error:
        # Raised without a code, but in SQLite's own words.
        raise RefusedError(f"{path}: its key could not be changed ({error}). Make room, or try again later.") from None


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Faults of the database become errors of one line that name the file and say what to do."""
    try:
        yield
    except sqlcipher.Error as error:
        raise _in_words(path, error) from None
    except (OverflowError, UnicodeEncodeError):
        raise DataError("A number over 64 bits or half a surrogate pair cannot be looked up. Ask otherwise.") from None


def _in_words(path: Path, error: Exception) -> FedrecError:
    code = getattr(error, "sqlite_errorcode", 0)
    # The lowest byte is the kind; the others tell variants of it.
    kind = code & 0xFF
    if kind in _DAMAGE:
        return DamagedError(path)
    if kind in _BUSY:
        return RefusedError(f"{path} is in use by another process for over {WAIT_SECONDS:g} s. Try again, or stop it.")
    if kind == _FULL:
        return DataError(f"{path} cannot grow: the disk is full. Make room; nothing of this write was kept.")
    if kind in _NOT_WRITABLE:
        return DataError(f"{path} or its folder cannot be written. Give this user the right to write there.")
    if kind == _IO:
        return DataError(f"{path}: reading or writing failed (code {code}). Look at the disk and its free space.")
    return DataError(f"{path}: the database refuses this (code {code}). Report it with the version of fedrec.")
