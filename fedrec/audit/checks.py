"""One exact check of the path: what was found, and between what it must lie."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """what: in words, with its unit. low, high: where `found` must lie, both included."""

    name: str
    what: str
    found: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether it lies there; a figure that is no number does not."""
        return self.low <= self.found <= self.high

    def as_json(self) -> dict[str, Any]:
        """Its form in the audit's record."""
        return {"passed": self.passed, "what": self.what, "found": self.found, "low": self.low, "high": self.high}
