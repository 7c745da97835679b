"""The clocks that a service's rounds go by; a test has its own, which moves only when it says so."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """utc: seconds since 1970, which an operator or a network may set. steady: seconds that only go forward."""

    utc: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def duration(seconds: float) -> str:
    """A time span for people, in one unit, rounded up: nobody waits for 0 minutes.

    >>> [duration(seconds) for seconds in (0.5, 60, 61, 3 * 3600, 3 * 86_400)]
    ['1 min', '1 min', '2 min', '3 h', '3 days']
    """
    minutes = max(1, -(-int(seconds) // 60))
    if minutes < 120:
        return f"{minutes} min"
    hours = -(-minutes // 60)
    return f"{hours} h" if hours < 48 else f"{-(-hours // 24)} days"
