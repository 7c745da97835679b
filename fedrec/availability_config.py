"""Who is there for a round, who is lost in it and who is late, in a simulation."""

from dataclasses import dataclass
from typing import Literal

from fedrec.errors import ConfigError
from fedrec.privacy_config import require_positive

Pattern = Literal["always", "diurnal", "charging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityConfig:
    """How a simulation's clients come and go; a service's devices do so by themselves.

    pattern: `always`; `diurnal`, by the hour of each client's day; `charging`, at night, in those nights in which the
    device is plugged in and on a network that costs nothing.
    share: of all hours at swing 0 (`diurnal`), of all nights (`charging`) that an average client is there.
    uneven: 0 where clients are alike; towards 1 a few are there nearly always and most hardly ever.
    swing: log-odds by which the busiest hour is over an average one (`diurnal`).
    zones: hours that the clients' time zones span. round_minutes: from one round to the next.
    drop_out: probability that a client that was asked never answers.
    reply_seconds: median time of an answer, 0 for none at all; one that takes longer than federation.timeout is late.
    spread: standard deviation of its logarithm, half of its variance the device's own.
    """

    pattern: Pattern = "always"
    share: float = 0.5
    uneven: float = 0.5
    swing: float = 1.0
    zones: float = 6.0
    round_minutes: float = 60.0
    drop_out: float = 0.0
    reply_seconds: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        require_positive("availability", share=self.share, round_minutes=self.round_minutes)
        bounds = {
            "share": (self.share, 1.0),
            "uneven": (self.uneven, 0.99),
            "swing": (self.swing, 10.0),
            "zones": (self.zones, 24.0),
            "round_minutes": (self.round_minutes, 525_600.0),
            "drop_out": (self.drop_out, 0.99),
            "reply_seconds": (self.reply_seconds, 1e9),
            "spread": (self.spread, 10.0),
        }
        for name, (value, most) in bounds.items():
            if not 0 <= value <= most:
                raise ConfigError(f"availability.{name} is {value}. It lies between 0 and {most:g}.")
        if self.pattern == "always":
            self._refuse_unread()

    def _refuse_unread(self) -> None:
        for name in ("share", "uneven", "swing", "zones", "round_minutes"):
            value, usual = getattr(self, name), AvailabilityConfig.__dataclass_fields__[name].default
            if value != usual:
                raise ConfigError(
                    f'availability.{name} is {value}, and availability.pattern = "always" does not read it. Use '
                    '"diurnal" or "charging", or leave it out.'
                )
