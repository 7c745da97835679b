"""Files of releases, each once and under the hash of its content, on a disk or in an object store."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from fedrec.errors import ConfigError, DataError, VerificationError
from fedrec.files import sync_folder
from fedrec.release import open_plain

_BLOCK = 1 << 20
_INCOMING = "incoming"
_STALE_SECONDS = 86_400


class Artifacts:
    """The files under one fsspec URL. A file has its name only once all of it is there."""

    def __init__(self, url: str) -> None:
        try:
            system, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"registry.artifacts cannot be used ({error}). Give one such as file:///PATH.") from None
        self._system: Any = system
        self._root = str(root).rstrip("/")
        self._local = isinstance(system, LocalFileSystem)
        if self._local:
            self._make_private()

    def size(self, sha256: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        try:
            return int(self._system.size(self._path(sha256)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"The registry's files cannot be reached ({error.strerror or error}).") from None

    def put(self, file: Path, *, sha256: str) -> int:
        """A file's content is kept under its hash; returns its bytes. What is there already stays.

        Raises VerificationError if its content has another hash, DataError if it cannot be kept.
        """
        try:
            with open_plain(file) as source:
                size = os.fstat(source.fileno()).st_size
                if self.size(sha256) != size:
                    self._keep(source, sha256, file.name)
                elif hashlib.file_digest(source, "sha256").hexdigest() != sha256:
                    raise _changed(file.name)
                return size
        except OSError as error:
            raise DataError(
                f"{file.name} cannot be kept in the registry ({error.strerror or type(error).__name__}). "
                "Make room, or check the rights."
            ) from None

    def read(self, sha256: str, *, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in blocks."""
        with self._system.open(self._path(sha256), "rb") as file:
            file.seek(start)
            while start < end and (block := file.read(min(_BLOCK, end - start))):
                start += len(block)
                yield block

    def is_intact(self, sha256: str) -> bool:
        """Whether the content that lies under a hash has it."""
        digest = hashlib.sha256()
        size = self.size(sha256)
        for block in self.read(sha256, start=0, end=size) if size is not None else ():
            digest.update(block)
        return size is not None and digest.hexdigest() == sha256

    def remove(self, sha256: str) -> None:
        """Nothing lies under a hash any more; for what is damaged, so that it can be put again."""
        with suppress(FileNotFoundError):
            self._system.rm_file(self._path(sha256))

    def _keep(self, source: BinaryIO, sha256: str, name: str) -> None:
        """Write beside the final place, then rename: whoever looks finds all of it or nothing."""
        self._sweep()
        incoming, final = f"{self._root}/{_INCOMING}/{secrets.token_hex(8)}", self._path(sha256)
        self._system.makedirs(f"{self._root}/{_INCOMING}", exist_ok=True)
        self._system.makedirs(self._system._parent(final), exist_ok=True)
        try:
            with self._system.open(incoming, "wb") as target:
                found = _copied(source, target, durable=self._local)
            if found != sha256:
                raise _changed(name)
            self._take_its_name(incoming, final)
        finally:
            with suppress(FileNotFoundError):
                self._system.rm_file(incoming)

    def _take_its_name(self, incoming: str, final: str) -> None:
        if not self._local:
            self._system.mv(incoming, final)
            return
        Path(incoming).replace(final)
        sync_folder(Path(final).parent)
        sync_folder(Path(final).parent.parent)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/sha256/{sha256[:2]}/{sha256}"

    def _make_private(self) -> None:
        """What is not released yet is nobody else's to read."""
        try:
            Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self._root} cannot be used ({error.strerror}). Check the rights.") from None

    def _sweep(self) -> None:
        """Remove what a kill left half-written on this disk long ago; an object store has rules of its own for that."""
        if self._local and (folder := Path(self._root) / _INCOMING).is_dir():
            for leftover in folder.iterdir():
                with suppress(FileNotFoundError):
                    if leftover.stat().st_mtime < time.time() - _STALE_SECONDS:
                        leftover.unlink()


def _copied(source: BinaryIO, target: IO[bytes], *, durable: bool) -> str:
    """Copy all of a file; returns the hash of what was copied."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
    if durable:
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _changed(name: str) -> VerificationError:
    return VerificationError(
        f"{name[:80]!a} is not the file that the release's manifest vouches for. Nothing was published."
    )
