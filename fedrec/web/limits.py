"""How much may be asked of a service: bytes in one request, and requests in a time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# More than there are products and open pages: the memory has a bound.
_MOST_CALLERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one caller may ask for.

    body_bytes: of one request. open_bytes: of one that needs no token. rate: requests a second
    that may go on for ever. burst: requests that may come at once.
    """

    body_bytes: int = 1 << 20
    open_bytes: int = 1 << 12
    rate: float = 50.0
    burst: int = 200


@dataclass(slots=True, kw_only=True)
class Buckets:
    """A token bucket per caller; in memory, so that nothing is written about who asked when."""

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, caller: str) -> int:
        """Seconds until the caller may ask again; 0 takes one from the bucket.

        >>> buckets = Buckets(limits=Limits(rate=1, burst=2), clock=lambda: 0.0)
        >>> [buckets.wait("page") for _ in range(3)], buckets.wait("product")
        ([0, 0, 1], 0)
        """
        now = self.clock()
        level, at = self._levels.get(caller, (float(self.limits.burst), now))
        level = min(self.limits.burst, level + (now - at) * self.limits.rate)
        taken = level >= 1
        self._levels[caller] = (level - taken, now)
        while len(self._levels) > _MOST_CALLERS:
            self._levels.pop(next(iter(self._levels)))
        return 0 if taken else max(1, math.ceil((1 - level) / self.limits.rate))
