"""The mechanism of a run and its accounting event, in one frozen object that cannot drift."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from fedrec.config import Scenario
from fedrec.privacy.spends import GaussianSpend, Spend
from fedrec.privacy_config import PrivacyConfig

ADJACENCY = "zero-out"
# What a round's metrics and a popularity vector are clipped to.
UNIT_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """cap: rounds that one client takes part in, k. rounds: of the whole run, R.

    separation: rounds between two participations of a client at least, b; 1 allows any.
    The client enforces cap and separation.
    """

    cap: int
    rounds: int
    separation: int = 1

    @property
    def most(self) -> int:
        """The participations that one client can come to within the run."""
        return min(self.cap, -(-self.rounds // self.separation))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSteps:
    """How a client of `local` mode draws and noises its steps.

    sampling_rate: probability that a unit enters a step, by coins that the client keeps to
    itself. segment_days: length of the UTC intervals that are a SEGMENT unit.
    """

    steps: int
    sampling_rate: float
    expected_batch: float
    segment_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityRelease:
    """One vector per user over the catalogue, at most `items` entries, norm at most 1, noised."""

    items: int
    noise_multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlan:
    """Everything that a client agrees to and that accounting needs.

    clip_norm: L2 bound C on one unit: on its gradient (`local`), or on a client's whole
    update (`central`). noise_multiplier: noise_std / C, on each step's clipped sum (`local`)
    or on the sum of a round's updates (`central`). local: None in `central` mode.
    bands: rounds that correlated noise reaches over; 1 is independent noise.
    popularity: a release before the first round. metrics_noise: noise multiplier of a round's
    released metrics.
    """

    mode: Literal["local", "central"]
    unit: Literal["USER", "SEGMENT"]
    clip_norm: float
    noise_multiplier: float
    delta: float
    limits: Limits
    local: LocalSteps | None = None
    bands: int = 1
    popularity: PopularityRelease | None = None
    metrics_noise: float | None = None

    @property
    def participation(self) -> Spend:
        """What the update of one participation of one client spends."""
        if self.local is None:
            return GaussianSpend(noise_multiplier=self.noise_multiplier)
        return GaussianSpend(
            noise_multiplier=self.noise_multiplier, sampling_rate=self.local.sampling_rate, steps=self.local.steps
        )

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each coordinate of a clipped sum."""
        return self.noise_multiplier * self.clip_norm

    def spends(self, participations: int) -> list[Spend]:
        """All that a client has spent after so many participations, the popularity release included."""
        before = [GaussianSpend(noise_multiplier=self.popularity.noise_multiplier)] if self.popularity else []
        each = [self.participation]
        if self.metrics_noise is not None:
            each.append(GaussianSpend(noise_multiplier=self.metrics_noise))
        return before + each * participations

    def event(self, spend: Spend, *, kind: str, clip_norm: float | None = None) -> dict[str, Any]:
        """What every entry of a ledger says of a spend under this plan; kind: what it was spent on."""
        correlated = self.limits.separation > 1 and kind == "update"
        return {
            **spend.as_event(),
            **({"bands": self.bands, "separation": self.limits.separation} if correlated else {}),
            "kind": kind,
            "mode": self.mode,
            "unit": self.unit,
            "clip_norm": self.clip_norm if clip_norm is None else clip_norm,
        }

    def as_table(self) -> dict[str, Any]:
        """Its form on the wire."""
        return asdict(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Read it back; raises TypeError or KeyError if it is malformed."""
        popularity, local = table["popularity"], table["local"]
        nested = {
            "limits": Limits(**table["limits"]),
            "local": LocalSteps(**local) if local else None,
            "popularity": PopularityRelease(**popularity) if popularity else None,
        }
        return cls(**{**table, **nested})

    def unit_text(self) -> str:
        """The unit in words."""
        if self.mode == "central":
            return "all that one person did, on the one device that holds it"
        if self.unit == "USER" or self.local is None:
            return "all that one person did, on the one hub that holds it"
        return (
            f"all that one person did within one fixed UTC interval of {self.local.segment_days} days; "
            "a person who is active in many intervals is many units"
        )

    def sampling_text(self) -> str:
        """The sampling assumption in words."""
        if self.local is None:
            draws = "a client's whole update enters every round that it takes part in"
        elif self.local.sampling_rate == 1:
            draws = "every unit enters every step"
        else:
            draws = (
                f"secret Poisson coins of the client, rate {self.local.sampling_rate:g}, "
                f"{self.local.steps} steps a participation"
            )
        return f"{draws}; participation is taken as known (no amplification by the server's draw)"


def plan_of(scenario: Scenario) -> PrivacyPlan | None:
    """The plan that a scenario asks for; None where it asks for no privacy."""
    privacy = scenario.privacy
    if privacy.mode == "none":
        return None
    correlated, popularity = scenario.correlated_noise, scenario.popularity
    return PrivacyPlan(
        mode=privacy.mode,
        unit=privacy.unit,
        clip_norm=privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier,
        delta=privacy.delta,
        limits=Limits(cap=privacy.participations, rounds=scenario.federation.rounds, separation=correlated.separation),
        local=_local_steps(privacy, scenario.training.steps) if privacy.mode == "local" else None,
        bands=correlated.bands,
        popularity=(
            PopularityRelease(items=popularity.items, noise_multiplier=popularity.noise_multiplier)
            if scenario.model.prior == "released"
            else None
        ),
        metrics_noise=scenario.released_metrics.noise_multiplier,
    )


def _local_steps(privacy: PrivacyConfig, steps: int) -> LocalSteps:
    return LocalSteps(
        steps=steps,
        sampling_rate=privacy.sampling_rate,
        expected_batch=privacy.expected_batch,
        segment_days=privacy.segment_days,
    )
