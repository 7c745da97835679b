"""What is going on right now: a wish in words, the items being looked at, a label such as "evening"."""

import math
from dataclasses import dataclass

from fedrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one call of `recommend` knows beyond the history; nothing of it is stored.

    text and session, item ids with the newest last, are read as the newest entries of the
    history, and count `emphasis` times what the same search or view would once it is recorded.
    label: entries recorded under the same context count `boost` times.
    Raises ConfigError for a factor that is negative or not finite.
    """

    text: str = ""
    session: tuple[str, ...] = ()
    label: str = ""
    boost: float = 2.0
    # Of a long history one more search is a small part: counted once, a wish left the lists of
    # ml-latest-small as they were; counted five times, what it names leads them.
    emphasis: float = 5.0

    def __post_init__(self) -> None:
        for name, factor in (("boost", self.boost), ("emphasis", self.emphasis)):
            if not (math.isfinite(factor) and factor >= 0):
                raise ConfigError(f"A context's {name} is {factor}. It is a finite number of at least 0.")


NO_CONTEXT = Context()
