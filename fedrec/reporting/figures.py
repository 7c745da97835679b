"""Numbers as reports print them: the same digits everywhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

METRICS: Mapping[str, str] = {"ndcg@10": "NDCG@10", "hr@10": "HR@10", "recall@20": "Recall@20", "mrr": "MRR"}
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95% interval over users; low and high equal the value when not resampled."""

    value: float
    low: float
    high: float

    @classmethod
    def parse(cls, metric: object) -> "Interval | None":
        """Read `{"value", "low", "high"}`; None when it is absent or not finite."""
        value = number(metric.get("value")) if isinstance(metric, Mapping) else None
        if value is None or not isinstance(metric, Mapping):
            return None
        low, high = number(metric.get("low")), number(metric.get("high"))
        return cls(value, value if low is None else low, value if high is None else high)

    @property
    def resampled(self) -> bool:
        """Whether the interval says more than the value."""
        return self.low < self.high

    @property
    def bounds(self) -> str:
        """The interval alone, or nothing when the metric was not resampled."""
        return f"[{share(self.low)}, {share(self.high)}]" if self.resampled else ""

    def __str__(self) -> str:
        return f"{share(self.value)} {self.bounds}".rstrip()


def share(value: float) -> str:
    """Three decimals without a leading zero.

    >>> share(0.0651), share(1.0), share(-0.0004)
    ('.065', '1.000', '.000')
    """
    text = f"{value:.3f}".replace("-0.000", "0.000")
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def rounded_up(value: float, digits: int) -> float:
    """No smaller than the value: what was spent is never reported as less.

    >>> rounded_up(4.15187, 4), rounded_up(4.1519, 4), rounded_up(0.07, 2)
    (4.1519, 4.1519, 0.07)
    """
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_CEILING))


def rounded_down(value: float, digits: int) -> float:
    """No larger than the value: what is left is never reported as more."""
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))


def epsilon_text(epsilon: float | None) -> str:
    """Two decimals, rounded up, and a dash where there is none.

    >>> epsilon_text(4.1519), epsilon_text(0.07)
    ('4.16', '0.07')
    """
    return ABSENT if epsilon is None else f"{rounded_up(epsilon, 2):.2f}"


def delta_text(delta: float | None) -> str:
    """Scientific without padding.

    >>> delta_text(1e-05), delta_text(2.5e-06)
    ('1e-5', '2.5e-6')
    """
    if delta is None:
        return ABSENT
    mantissa, exponent = f"{delta:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def count_text(count: float | None) -> str:
    """Thousands apart."""
    return ABSENT if count is None else f"{count:,.0f}"


def bytes_text(count: float | None) -> str:
    """Decimal units: 1 kB is 1,000 bytes.

    >>> bytes_text(294_912), bytes_text(640)
    ('295 kB', '640 B')
    """
    if count is None:
        return ABSENT
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            scaled = count / size
            return f"{scaled:.0f} {unit}" if scaled >= 10 else f"{scaled:.1f} {unit}"
    return f"{count:.0f} B"


def seconds_text(seconds: float | None) -> str:
    """Seconds, minutes or hours.

    >>> seconds_text(4.21), seconds_text(133), seconds_text(7500)
    ('4.2 s', '2 min 13 s', '2 h 5 min')
    """
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(value: object) -> float | None:
    """The value as a float; None when it is absent or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
