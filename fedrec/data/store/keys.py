"""Where the key of a store lies: the operating system's keyring, or a file of mode 0600.

A key is 32 random bytes and goes by its name, a hash of it: so a damaged or foreign key is
told from a damaged store. Which names a store goes by lies beside it, in `store.json`; two
of them while the key is being changed.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from fedrec.errors import DataError, RefusedError, VerificationError
from fedrec.files import sync_folder, write_atomically

KEY_FILE = "store.key"
NAMES_FILE = "store.json"
FORCE_FILE = "FEDREC_KEY_FILE"
_SERVICE = "fedrec store"


class KeySource(Protocol):
    """Keeps keys by their names, across restarts; `place` says where, in a message."""

    place: str

    def read(self, name: str) -> bytes | None:
        """The key of this name; None where there is none."""

    def write(self, name: str, key: bytes) -> None:
        """Keep a key; it survives a restart when this returns."""

    def forget(self, name: str) -> None:
        """Destroy the key of this name, if there is one."""


# None: wherever the operating system offers; see `source_for`.
Keys = KeySource | Literal["file", "keyring"] | None


def new_key() -> tuple[str, bytes]:
    """A fresh random key and its name."""
    key = secrets.token_bytes(32)
    return key_name(key), key


def key_name(key: bytes) -> str:
    """What a key is found by; tells nothing of it, as the key is random."""
    return hashlib.sha256(b"fedrec store key\n" + key).hexdigest()[:32]


class FileKeys:
    """Keys in a file that its owner alone can read: one line each, a name and the key in hex."""

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path

    def read(self, name: str) -> bytes | None:
        """The key of this name; None where there is none."""
        return self._keys().get(name)

    def write(self, name: str, key: bytes) -> None:
        """Keep a key; it is on the disk when this returns."""
        self._replace({**self._keys(), name: key})

    def forget(self, name: str) -> None:
        """Rewrite the file without this key, and overwrite what held it; whoever calls has the store's turn."""
        keys = self._keys()
        keys.pop(name, None)
        self._replace(keys)

    def _replace(self, keys: dict[str, bytes]) -> None:
        """The file holds these keys, and no other file or freed block of ours holds any."""
        with ExitStack() as stack:
            # Drafts of this file are what a kill left behind: whoever writes has the store's turn.
            drafts = list(self._path.parent.glob(f".{self._path.name}.*"))
            old = [stack.enter_context(path.open("r+b")) for path in [self._path, *drafts] if path.exists()]
            if keys:
                content = "".join(f"{name} {key.hex()}\n" for name, key in keys.items())
                write_atomically(self._path, content.encode(), mode=0o600)
            else:
                self._path.unlink(missing_ok=True)
            for draft in drafts:
                draft.unlink(missing_ok=True)
            sync_folder(self._path.parent)
            for file in old:
                # No name leads to it any more: a power cut here loses nothing that is needed.
                _overwrite(file)

    def _keys(self) -> dict[str, bytes]:
        if not self._path.exists():
            return {}
        try:
            lines = [line.split() for line in self._path.read_text(encoding="ascii").splitlines()]
            return {name: bytes.fromhex(key) for name, key in lines}
        except ValueError:
            raise VerificationError(f"{self._path} holds no keys that can be read. Restore it from a copy.") from None


def _overwrite(file: BinaryIO) -> None:
    """Zeros lie where the content lay, as far as the disk and its file system write in place."""
    file.write(b"\0" * os.fstat(file.fileno()).st_size)
    file.flush()
    os.fsync(file.fileno())


class KeyringKeys:
    """Keys in the operating system's keyring."""

    place = "the keyring of the operating system"

    def read(self, name: str) -> bytes | None:
        """The key of this name; None where there is none."""
        import keyring
        from keyring.errors import KeyringError

        try:
            kept = keyring.get_password(_SERVICE, name)
        except KeyringError as error:
            raise RefusedError(
                f"The keyring of the operating system does not answer ({type(error).__name__}). "
                "Unlock it and try again."
            ) from None
        try:
            return bytes.fromhex(kept) if kept is not None else None
        except ValueError:
            raise VerificationError("The keyring holds something else under a store's name.") from None

    def write(self, name: str, key: bytes) -> None:
        """Keep a key, and read it back: some keyrings lose what they are given."""
        import keyring
        from keyring.errors import KeyringError

        try:
            keyring.set_password(_SERVICE, name, key.hex())
        except KeyringError as error:
            raise RefusedError(
                f"The keyring of the operating system takes no key ({type(error).__name__}). "
                f"Unlock it, or set {FORCE_FILE}=1 to keep the key in a file."
            ) from None
        if self.read(name) != key:
            raise RefusedError(
                f"The keyring of the operating system does not keep what it is given. "
                f"Set {FORCE_FILE}=1 to keep the key in a file."
            )

    def forget(self, name: str) -> None:
        """Destroy the key of this name, if there is one."""
        import keyring
        from keyring.errors import KeyringError, PasswordDeleteError

        try:
            keyring.delete_password(_SERVICE, name)
        except PasswordDeleteError:
            if self.read(name) is not None:
                raise RefusedError("The keyring of the operating system does not delete a key.") from None
        except KeyringError as error:
            raise RefusedError(
                f"The keyring of the operating system does not answer ({type(error).__name__}). "
                "Unlock it and try again."
            ) from None


def keyring_answers() -> bool:
    """Whether there is a keyring that really stores; the package's own placeholders do not."""
    import keyring
    from keyring.core import recommended

    try:
        return bool(recommended(keyring.get_keyring()))
    except Exception:
        # A backend that the system names and that does not load: whatever it raises, it keeps no key.
        return False


def source_for(folder: Path, keys: Keys) -> KeySource:
    """Where the keys of the store in `folder` lie, or will lie.

    keys: None takes the keyring where one answers, and the file otherwise; a file that is
    there already, or FEDREC_KEY_FILE=1, takes the file.
    """
    file = FileKeys(folder / KEY_FILE)
    if keys is not None and not isinstance(keys, str):
        return keys
    if keys == "file" or os.environ.get(FORCE_FILE, "") not in ("", "0"):
        return file
    if keys == "keyring":
        return KeyringKeys()
    return file if (folder / KEY_FILE).exists() or not keyring_answers() else KeyringKeys()


def read_names(path: Path) -> list[str]:
    """The names of the keys that a store may be under: one, or two where a change was interrupted."""
    try:
        names = json.loads(path.read_bytes())["keys"]
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("no names")
    except FileNotFoundError:
        raise DataError(f"{path} is missing, which names the store's key. Restore it from a copy.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise VerificationError(
            f"{path} cannot be read, which names the store's key. Restore it from a copy."
        ) from None
    return list(names)


def write_names(path: Path, names: Sequence[str]) -> None:
    """Put the names of the store's keys on the disk."""
    write_atomically(path, json.dumps({"keys": list(names)}).encode() + b"\n", mode=0o600)


def read_keys(folder: Path, source: KeySource) -> dict[str, bytes]:
    """The keys that the store may be under, by name.

    Raises DataError if none is there, VerificationError if one is not what its name says.
    """
    names = read_names(folder / NAMES_FILE)
    found = {name: key for name in names if (key := source.read(name)) is not None}
    if any(key_name(key) != name for name, key in found.items()):
        raise VerificationError(
            f"The key in {source.place} is damaged. Restore it from a copy; the store in {folder} is left as it is."
        )
    if not found:
        raise DataError(
            f"The key of the store in {folder} is not in {source.place}. Restore it from a copy: nobody can read "
            "the store without it. Nothing was changed."
        )
    return found
