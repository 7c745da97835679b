"""Who is told how far a long job is, and what it came to so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedrec.reporting.figures import epsilon_text, share

_BLOCKS = "▁▂▃▄▅▆▇█"
# Columns of a terminal that a curve may take.
_WIDTH = 24


class Watcher(Protocol):
    """Told how far a stage is, and in a few words what came of it; a progress bar, or nothing."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None: ...


def encoding(watch: Watcher) -> Callable[[int, int], None]:
    """A watcher of the encoder's pass."""
    return lambda done, total: watch("encode texts", done, total)


@dataclass(slots=True)
class Curve:
    """Validation NDCG@10 over the rounds so far, beside what they spent and how fast they are."""

    values: list[float] = field(default_factory=list)

    def told(self, record: Mapping[str, Any]) -> str:
        """A round's record in a few words, after those before it."""
        if record["validation"]:
            self.values.append(record["validation"]["ndcg@10"]["value"])
        rate = record["replies"] / max(record["seconds"], 1e-9)
        told = [f"{rate:,.0f} clients/s" if rate >= 10 else f"{rate:.1f} clients/s"]
        spent = "" if record["epsilon"] is None else f"epsilon {epsilon_text(record['epsilon'])}"
        if self.values:
            told.append(f"NDCG@10 {curve(self.values)} {share(self.values[-1])}")
            told[-1] += f" at {spent}" if spent else ""
        elif spent:
            told.append(spent)
        return ", ".join(told)


def curve(values: list[float]) -> str:
    """The last values as one line of text, from the lowest of them to the highest.

    >>> curve([0.1, 0.2, 0.3])
    '▁▅█'
    """
    shown = values[-_WIDTH:]
    low, span = min(shown), max(shown) - min(shown)
    heights = [round((value - low) / span * (len(_BLOCKS) - 1)) if span else 0 for value in shown]
    return "".join(_BLOCKS[height] for height in heights)
