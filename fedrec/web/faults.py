"""Faults of a service in its own output: one line each, where it was, and never what it was about."""

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_EVERY_SECONDS = 60.0


def report(error: BaseException | None, *, service: str) -> None:
    """Where a fault was, for the one who runs the service: its kind and line, never its message."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    print(f"{service}: {type(error).__name__ if error is not None else 'a fault'}{place}", file=sys.stderr)  # noqa: T201


@dataclass(slots=True, kw_only=True)
class LoopFaults:
    """The event loop's handler of faults: one line a minute at most, so that nobody fills a disk with them."""

    service: str
    clock: Callable[[], float] = time.monotonic
    _next: float = float("-inf")

    def __call__(self, _: object, context: dict[str, Any]) -> None:
        """Say that the loop had a fault, unless one was said within the last minute."""
        now = self.clock()
        if now >= self._next:
            self._next = now + _EVERY_SECONDS
            report(context.get("exception"), service=self.service)
