"""The mechanism of a run and its accounting event, in one frozen object that cannot drift."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from fedrec.config import PrivacyConfig, TrainingConfig
from fedrec.errors import ConfigError

ADJACENCY = "zero-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianSpend:
    """`steps` releases of a Poisson-subsampled Gaussian sum of sensitivity `clip_norm`.

    What the ledger records of one participation; everything that accounting needs.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def as_event(self) -> dict[str, Any]:
        """The ledger's form of it."""
        return {
            "mechanism": "poisson_subsampled_gaussian",
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "steps": self.steps,
        }

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        """Read it back; raises ConfigError for a mechanism that this version cannot account."""
        if event.get("mechanism") != "poisson_subsampled_gaussian":
            raise ConfigError(
                f"The ledger holds a `{event.get('mechanism')}` event, which this version of fedrec cannot account. "
                "Use the version that wrote it."
            )
        return cls(**{name: event[name] for name in ("noise_multiplier", "sampling_rate", "steps")})


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlan:
    """`local` mode: every client runs DP-SGD on its own units.

    clip_norm: L2 bound C on one unit's gradient. noise_std of each step is
    noise_multiplier * clip_norm. sampling_rate: probability that a unit enters a step,
    by coins that the client keeps to itself. participation_cap: rounds per client.
    """

    unit: Literal["USER", "SEGMENT"]
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    expected_batch: float
    steps: int
    participation_cap: int
    delta: float
    segment_days: int

    @property
    def participation(self) -> GaussianSpend:
        """What one participation of one client spends."""
        return GaussianSpend(noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate, steps=self.steps)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each coordinate of a step's clipped sum."""
        return self.noise_multiplier * self.clip_norm

    def unit_text(self) -> str:
        """The unit in words."""
        if self.unit == "USER":
            return "all that one person did, on the one hub that holds it"
        return (
            f"all that one person did within one fixed UTC interval of {self.segment_days} days; "
            "a person who is active in many intervals is many units"
        )

    def sampling_text(self) -> str:
        """The sampling assumption in words."""
        draws = (
            "every unit enters every step"
            if self.sampling_rate == 1
            else f"secret Poisson coins of the client, rate {self.sampling_rate:g}, {self.steps} steps a participation"
        )
        return f"{draws}; participation is taken as known (no amplification by the server's draw)"


def plan_of(privacy: PrivacyConfig, training: TrainingConfig) -> PrivacyPlan | None:
    """The plan that a scenario asks for; None where it asks for no privacy."""
    if privacy.mode == "none":
        return None
    return PrivacyPlan(
        unit=privacy.unit,
        clip_norm=privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier,
        sampling_rate=privacy.sampling_rate,
        expected_batch=privacy.expected_batch,
        steps=training.steps,
        participation_cap=privacy.participations,
        delta=privacy.delta,
        segment_days=privacy.segment_days,
    )
