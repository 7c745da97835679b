"""What a ledger records of one participation: everything that accounting needs, and never an epsilon."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from fedrec.errors import ConfigError
from fedrec.privacy.skellam import l1_bound, published_divergence, renyi_divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianSpend:
    """`steps` releases of a Poisson-subsampled Gaussian sum of sensitivity 1 clip norm."""

    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1

    def as_event(self) -> dict[str, Any]:
        """The ledger's form of it."""
        return {
            "mechanism": "poisson_subsampled_gaussian",
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "steps": self.steps,
        }

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read it back."""
        return cls(**{name: event[name] for name in ("noise_multiplier", "sampling_rate", "steps")})


@dataclass(frozen=True, slots=True, kw_only=True)
class SkellamSpend:
    """One release of a sum on a grid of whole numbers, under Skellam noise that the clients bear together.

    variance: of the honest clients' noise on each coordinate, at least; norm_squared: the squared L2 norm of one
    client's update after rounding, at most; both in steps of the grid. size: numbers of an update. failure: the
    probability that fewer honest shares are in a sum. total_variation: of all shares' distributions from Skellam's.
    """

    variance: int
    norm_squared: int
    size: int
    failure: float
    total_variation: float

    # A whole update enters every release.
    sampling_rate: ClassVar[float] = 1.0
    steps: ClassVar[int] = 1

    @property
    def noise_multiplier(self) -> float:
        """Noise over sensitivity, after rounding."""
        return math.sqrt(self.variance / self.norm_squared)

    def divergence(self, order: float, *, replace_one: bool = False, published: bool = False) -> float:
        """A bound on its Renyi divergence of an order over 1; replacing a unit doubles the sensitivity.

        published: by what others have proven alone, which is infinite between whole orders.
        """
        bound = published_divergence if published else renyi_divergence
        times = 2 if replace_one else 1
        norm_squared = times * times * self.norm_squared
        return bound(
            order, variance=self.variance, norm_squared=norm_squared, l1=l1_bound(norm_squared, size=self.size)
        )

    def as_event(self) -> dict[str, Any]:
        """The ledger's form of it."""
        return {"mechanism": "distributed_skellam", **asdict(self)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read it back."""
        return cls(
            variance=event["variance"],
            norm_squared=event["norm_squared"],
            size=event["size"],
            failure=event["failure"],
            total_variation=event["total_variation"],
        )


Spend = GaussianSpend | SkellamSpend
# Equal spends, and how many there are of each.
Spending = tuple[tuple[Spend, int], ...]


def spend_of(event: Mapping[str, Any]) -> Spend:
    """Read a ledger's event back; raises ConfigError for a mechanism that this version cannot account."""
    mechanism = event.get("mechanism")
    if mechanism == "poisson_subsampled_gaussian":
        return GaussianSpend.from_event(event)
    if mechanism == "distributed_skellam":
        return SkellamSpend.from_event(event)
    raise ConfigError(
        f"The ledger holds a `{mechanism}` event, which this version of fedrec cannot account. "
        "Use the version that wrote it."
    )


def gaussians(spending: Spending) -> tuple[tuple[GaussianSpend, int], ...]:
    """What of a spending is Gaussian."""
    return tuple((spend, count) for spend, count in spending if isinstance(spend, GaussianSpend))


def skellams(spending: Spending) -> tuple[tuple[SkellamSpend, int], ...]:
    """What of a spending is Skellam."""
    return tuple((spend, count) for spend, count in spending if isinstance(spend, SkellamSpend))
