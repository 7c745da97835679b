"""The privacy settings of a scenario: noise, budget, and the releases beside the adapter."""

import math
from dataclasses import dataclass
from typing import Literal

from fedrec.errors import ConfigError

_LEAST_NOISE = 0.3
_LONGEST_SEGMENT = 36_525
_MOST_NUMBERS = 2**24

Mode = Literal["none", "local", "central", "distributed"]
Unit = Literal["USER", "SEGMENT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """Where the noise is and what it is worth; `fedrec.privacy.plan` turns it into a plan.

    clip_norm: of one unit's gradient in `local` mode, of a client's whole update in `central` and `distributed`.
    participations: cap k on the rounds that one client takes part in, enforced by the client.
    sampling_rate, expected_batch, segment_days: of `local` mode; public constants of the
    recipe, never read off the data. segment_days: length of the intervals of a SEGMENT unit.
    noise: `system` draws from the operating system; `seeded` makes a run reproducible
    and is no DP guarantee.
    """

    mode: Mode = "none"
    unit: Unit = "USER"
    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    sampling_rate: float = 1.0
    expected_batch: float = 1.0
    participations: int = 10
    delta: float = 1e-6
    segment_days: int = 30
    noise: Literal["system", "seeded"] = "system"

    def __post_init__(self) -> None:
        require_positive(
            "privacy",
            clip_norm=self.clip_norm,
            noise_multiplier=self.noise_multiplier,
            expected_batch=self.expected_batch,
            participations=self.participations,
            segment_days=self.segment_days,
        )
        if not 0 < self.sampling_rate <= 1:
            raise ConfigError(f"privacy.sampling_rate is {self.sampling_rate}. It is a probability: over 0, at most 1.")
        if not 1e-12 <= self.delta < 1:
            raise ConfigError(f"privacy.delta is {self.delta}. It lies between 1e-12 and 1; 1e-6 is usual.")
        require_noise("privacy.noise_multiplier", self.noise_multiplier)
        if self.segment_days > _LONGEST_SEGMENT:
            raise ConfigError(f"privacy.segment_days is {self.segment_days}. Choose at most {_LONGEST_SEGMENT}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """What may be spent at most; a run that would pass it sends no message.

    epsilon: over the whole life of a client, at privacy.delta. per_day, per_month: rate
    limits on participations; they bound no epsilon, which composes over the lifetime.
    earlier_runs: run folders on the same people, whose spending is added.
    """

    epsilon: float | None = None
    per_day: int | None = None
    per_month: int | None = None
    earlier_runs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        limits = {"epsilon": self.epsilon, "per_day": self.per_day, "per_month": self.per_month}
        require_positive("budget", **{name: value for name, value in limits.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelatedNoiseConfig:
    """Noise of `central` mode that cancels over rounds (DP-FTRL).

    bands: 1 for independent noise. separation: rounds that a client rests at least between
    two participations, enforced by the client; at least `bands`.
    """

    bands: int = 1
    separation: int = 1

    def __post_init__(self) -> None:
        require_positive("correlated_noise", bands=self.bands, separation=self.separation)
        if self.separation < self.bands:
            raise ConfigError(
                f"correlated_noise.separation {self.separation} is under correlated_noise.bands {self.bands}: "
                "a client's rounds would share noise. Raise separation, or lower bands."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityConfig:
    """The charged release of popularity behind model.prior = "released".

    items: how many distinct items one user counts for at most. noise_multiplier: on the sum
    of vectors of norm at most 1.
    """

    items: int = 10
    noise_multiplier: float = 4.0

    def __post_init__(self) -> None:
        require_positive("popularity", items=self.items)
        require_noise("popularity.noise_multiplier", self.noise_multiplier)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedMetricsConfig:
    """A charged release of loss, hit rate and clip fraction in every round of `central` mode.

    noise_multiplier: on the sum of vectors of norm at most 1; absent, nothing is released.
    """

    noise_multiplier: float | None = None

    def __post_init__(self) -> None:
        if self.noise_multiplier is not None:
            require_noise("released_metrics.noise_multiplier", self.noise_multiplier)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureAggregationConfig:
    """Sums under masks: what `distributed` mode rests on, and what `local` mode may have as well.

    enabled: masks in `local` mode; `distributed` mode always has them. drop_out, corruption: shares of a cohort
    that may go, or collude with the server, at most. size: numbers of an update that the grid is made for, at most.
    """

    enabled: bool = False
    drop_out: float = 0.1
    corruption: float = 0.1
    size: int = 2**18

    def __post_init__(self) -> None:
        for name, share in (("drop_out", self.drop_out), ("corruption", self.corruption)):
            if not 0 <= share < 0.5:
                raise ConfigError(
                    f"secure_aggregation.{name} is {share}. It is a share of a cohort: at least 0, under 0.5."
                )
        require_positive("secure_aggregation", size=self.size)
        if self.size > _MOST_NUMBERS:
            raise ConfigError(f"secure_aggregation.size is {self.size}. Choose at most {_MOST_NUMBERS}.")


def require_positive(where: str, /, **values: float) -> None:
    """Raise ConfigError, naming the setting, unless every value is a finite number over 0."""
    for name, value in values.items():
        if not value > 0 or value == float("inf"):
            raise ConfigError(f"{where}.{name} is {value}. It must be a number over 0.")


def require_noise(where: str, noise_multiplier: float) -> None:
    """Raise ConfigError unless the noise is enough to be accounted, and finite."""
    if not _LEAST_NOISE <= noise_multiplier < math.inf:
        raise ConfigError(
            f"{where} is {noise_multiplier}. Below {_LEAST_NOISE} no epsilon means anything; "
            'for a run without noise set privacy.mode = "none".'
        )
