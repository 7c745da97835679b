"""What is asked of stored studies: what there is, at most, and the utility that it should give."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What there is, at most, and the utility that is asked for, at least; None where nothing is said.

    delta: that an epsilon holds at. at_least: of NDCG@10 on validation, the mean over seeds.
    """

    users: int | None = None
    rounds: int | None = None
    epsilon: float | None = None
    delta: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in self.limits() if value is not None}
        if self.at_least is not None:
            given["at_least"] = self.at_least
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}. It must be a number over 0.")

    def limits(self) -> tuple[tuple[str, float | None], ...]:
        """What a run may cost at most, by name."""
        return (("users", self.users), ("rounds", self.rounds), ("epsilon", self.epsilon), ("delta", self.delta))

    def misses(self, found: Mapping[str, float], *, mean: float) -> float:
        """How far a setting is from satisfying: 0 where it does, else the sum of the relative gaps.

        found: what it cost, by the names of the limits.
        """
        gaps = [max(0.0, found[name] / limit - 1) for name, limit in self.limits() if limit is not None]
        if self.at_least is not None:
            gaps.append(max(0.0, 1 - mean / self.at_least))
        return sum(gaps)
