"""Locks among processes, on files beside the store: let go of by the system when a process dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedrec.errors import RefusedError

_PAUSE_SECONDS = 0.005


class Lock:
    """Shared or exclusive hold of one lock file; every `Lock` is a holder of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool = False, wait: float = 0.0) -> bool:
        """Whether the lock is held now, in the asked way; tried for `wait` seconds."""
        operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._handle, operation)
                return True
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
            time.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """Let go of the lock; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


@contextmanager
def held(path: Path, *, wait: float) -> Iterator[None]:
    """Nobody else is in this lock while the block runs; RefusedError where it is not free in time."""
    lock = Lock(path)
    try:
        if not lock.take(wait=wait):
            raise RefusedError(f"{path} is in use by another process. Wait for it, or stop it.")
        yield
    finally:
        lock.close()
