"""Who is told how far a long job is."""

from collections.abc import Callable
from typing import Protocol


class Watcher(Protocol):
    """Told how far a stage is; a progress bar, or nothing."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def encoding(watch: Watcher) -> Callable[[int, int], None]:
    """A watcher of the encoder's pass."""
    return lambda done, total: watch("encode texts", done, total)
