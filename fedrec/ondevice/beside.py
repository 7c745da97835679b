"""Work that takes too long for a call: done in a thread beside the calls, one piece at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, Thread


class Beside:
    """Runs `work` beside the calls that hold `lock`; the work takes the lock itself where it must."""

    def __init__(self, lock: "RLock", work: Callable[[], None], *, name: str) -> None:
        self._lock = lock
        self._work = work
        self._name = name
        self._thread: Thread | None = None

    @property
    def under_way(self) -> bool:
        """Whether the work has begun and not ended."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """The work is under way; a second call before its end does nothing."""
        if not self.under_way:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """The lock, with nothing under way. Must not be asked for by who holds the lock."""
        while True:
            if self._thread is not None:
                self._thread.join()
            with self._lock:
                if not self.under_way:
                    yield
                    return
