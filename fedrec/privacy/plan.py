"""The mechanism of a run and its accounting event, in one frozen object that cannot drift."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from fedrec.privacy.skellam import rounded_norm_squared, share_variance
from fedrec.privacy.spends import GaussianSpend, SkellamSpend, Spend

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
class SecureSum:
    """How a cohort's updates are added up under masks; `fedrec.secagg.planned` works it all out from the first five.

    clients: of a cohort. drop_out, corruption: shares of it that may go, or collude with the server, at most. size:
    numbers of an update, at most. norm: L2 bound on it. steps: of the grid to `norm`. bits: of a word.
    least_honest: clients in any sum that the server can learn, n_min, but with probability `failure`.
    total_variation: of all noise that is drawn in a round from Skellam's, at most.
    """

    clients: int
    drop_out: float
    corruption: float
    size: int
    norm: float
    steps: int
    bits: int
    least_honest: int
    failure: float
    total_variation: float

    @property
    def norm_squared(self) -> int:
        """The squared norm of an update on the grid, at most."""
        return rounded_norm_squared(self.steps, size=self.size)

    def share_variance(self, noise_multiplier: float) -> int:
        """Variance of each client's share of the noise, in squared steps of the grid."""
        return share_variance(self.steps, noise_multiplier=noise_multiplier, least_honest=self.least_honest)

    def spend(self, noise_multiplier: float) -> SkellamSpend:
        """What one participation spends under shares of so much noise together."""
        return SkellamSpend(
            variance=self.least_honest * self.share_variance(noise_multiplier),
            norm_squared=self.norm_squared,
            size=self.size,
            failure=self.failure,
            total_variation=self.total_variation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlan:
    """Everything that a client agrees to and that accounting needs.

    clip_norm: L2 bound C on one unit: on its gradient (`local`), or on a client's whole
    update (`central`, `distributed`). noise_multiplier: noise_std / C, on each step's clipped sum
    (`local`) or on the sum of a round's updates, where in `distributed` mode the least honest
    clients have it together. local: None but in `local` mode. secure_sum: None without masks.
    bands: rounds that correlated noise reaches over; 1 is independent noise.
    popularity: a release before the first round. metrics_noise: noise multiplier of a round's
    released metrics. cohort_rate: of the secret coins by which the server draws each client into each round (Poisson
    sampling); None where nothing is claimed for who is drawn.
    """

    mode: Literal["local", "central", "distributed"]
    unit: Literal["USER", "SEGMENT"]
    clip_norm: float
    noise_multiplier: float
    delta: float
    limits: Limits
    local: LocalSteps | None = None
    bands: int = 1
    popularity: PopularityRelease | None = None
    metrics_noise: float | None = None
    secure_sum: SecureSum | None = None
    cohort_rate: float | None = None

    @property
    def participation(self) -> Spend:
        """What the update of one participation of one client spends."""
        if self.mode == "distributed" and self.secure_sum is not None:
            return self.secure_sum.spend(self.noise_multiplier)
        if self.local is None:
            return GaussianSpend(noise_multiplier=self.noise_multiplier)
        return GaussianSpend(
            noise_multiplier=self.noise_multiplier, sampling_rate=self.local.sampling_rate, steps=self.local.steps
        )

    @property
    def share_variance(self) -> int:
        """Variance of the noise that one client adds on the grid of a secure sum; 0 where it adds none there."""
        if self.mode != "distributed" or self.secure_sum is None:
            return 0
        return self.secure_sum.share_variance(self.noise_multiplier)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each coordinate of a clipped sum."""
        return self.noise_multiplier * self.clip_norm

    def spends(self, participations: int) -> list[Spend]:
        """All that a client has spent after so many participations, the popularity release included."""
        before: list[Spend] = []
        if self.popularity is not None:
            before.append(GaussianSpend(noise_multiplier=self.popularity.noise_multiplier))
        each: list[Spend] = [self.participation]
        if self.metrics_noise is not None:
            each.append(GaussianSpend(noise_multiplier=self.metrics_noise))
        return before + each * participations

    def event(self, spend: Spend, *, kind: str, clip_norm: float | None = None) -> dict[str, Any]:
        """What every entry of a ledger says of a spend under this plan; kind: what it was spent on."""
        correlated = self.limits.separation > 1 and kind == "update"
        return {
            **spend.as_event(),
            **({"bands": self.bands, "separation": self.limits.separation} if correlated else {}),
            **({"cohort_rate": self.cohort_rate} if self.cohort_rate is not None and kind != "popularity" else {}),
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
        # Plans of older releases know no sums under masks.
        popularity, local, secure_sum = table["popularity"], table["local"], table.get("secure_sum")
        nested = {
            "limits": Limits(**table["limits"]),
            "local": LocalSteps(**local) if local else None,
            "popularity": PopularityRelease(**popularity) if popularity else None,
            "secure_sum": SecureSum(**secure_sum) if secure_sum else None,
        }
        return cls(**{**table, **nested})

    def unit_text(self) -> str:
        """The unit in words."""
        if self.mode in ("central", "distributed"):
            return "all that one person did, on the one device that holds it"
        if self.unit == "USER" or self.local is None:
            return "all that one person did, on the one hub that holds it"
        return (
            f"all that one person did within one fixed UTC interval of {self.local.segment_days} days; "
            "a person who is active in many intervals is many units"
        )

    def masks_text(self) -> str | None:
        """What sums under masks rest on, in words; None without masks."""
        if self.secure_sum is None:
            return None
        told = self.secure_sum
        return (
            f"at least {told.least_honest} honest clients are in any sum that the server can learn, of a cohort of "
            f"{told.clients}; as many of all clients as {100 * told.corruption:g}% of a cohort may collude with "
            f"it; {100 * told.drop_out:g}% of a cohort may drop out"
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
