"""User ids become keyed hashes: the same people under the same key, strangers to everybody else."""

import hmac
import os
import secrets
from pathlib import Path

import polars as pl

from fedrec.errors import DataError

KEY_BYTES = 32
_HEX_KEPT = 32


def hash_users(users: pl.Series, *, key: bytes) -> pl.Series:
    """Each id as the first 32 hex digits of its HMAC-SHA256 under `key`."""
    known = users.unique()
    hashed = [hmac.digest(key, user.encode(), "sha256").hex()[:_HEX_KEPT] for user in known]
    return users.replace_strict(known, pl.Series(hashed, dtype=pl.String), return_dtype=pl.String)


def default_key_path(out: Path) -> Path:
    """Beside the dataset folder, so that passing the folder on does not pass the key on."""
    return out.with_name(out.name + ".user-key")


def read_key(path: Path) -> bytes | None:
    """The key in a file, None if there is no file.

    Raises DataError if it is not a key, or readable by others.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
        key = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise DataError(f"{path} is not a user key (64 hex digits). Name another --user-key file.") from None
    if len(key) != KEY_BYTES:
        raise DataError(f"{path} is not a user key (64 hex digits). Name another --user-key file.")
    if mode & 0o077:
        raise DataError(f"{path} can be read by other people of this machine. Run `chmod 600` on it first.")
    return key


def new_key() -> bytes:
    """A fresh random key."""
    return secrets.token_bytes(KEY_BYTES)


def write_key(path: Path, key: bytes) -> None:
    """Store a new key that only its owner can read; raises DataError if the file is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"The user key {path} cannot be written ({error.strerror}). Name another --user-key.") from None
