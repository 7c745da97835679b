"""What is going on right now: a wish in words, the items being looked at, a label such as "evening"."""

import math
from dataclasses import dataclass

from fedrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one call of `recommend` knows beyond the history; nothing of it is stored.

    text and session, item ids with the newest last, are read as the newest entries of the
    history. label: entries recorded under the same context count `boost` times.
    Raises ConfigError for a boost that is negative or not finite.
    """

    text: str = ""
    session: tuple[str, ...] = ()
    label: str = ""
    boost: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.boost) and self.boost >= 0):
            raise ConfigError(f"A context's boost is {self.boost}. It is a finite number of at least 0.")


NO_CONTEXT = Context()
