"""How rounds are run: who is asked, what counts, and how the server takes the mean update."""

import math
from dataclasses import dataclass
from typing import Literal

from fedrec.errors import ConfigError
from fedrec.privacy_config import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationConfig:
    """How the server draws clients and what it does with their mean update.

    sampling_rate: of a secret coin that each client is thrown in every round (Poisson sampling); `cohort` is then how
    many that gives on average, and what their sum is divided by. None draws cohorts of a fixed size.
    min_replies: below it a round is dropped and recorded. timeout: seconds that a round
    waits for its clients. over_selection: share of a cohort that is asked beyond it; the round
    closes at `cohort` sound replies, and whoever was asked is charged.
    norm_bound: a longer update is not counted (`none` and `local` mode; `central` mode clips).
    hostile_clients: how many of a cohort `median_of_means` withstands.
    """

    rounds: int = 50
    cohort: int = 100
    sampling_rate: float | None = None
    min_replies: int = 1
    timeout: float = 600.0
    over_selection: float = 0.0
    server_optimizer: Literal["fedavg", "momentum", "adam"] = "adam"
    server_rate: float = 0.002
    release_every: int = 10
    norm_bound: float | None = None
    aggregation: Literal["mean", "median_of_means"] = "mean"
    hostile_clients: int = 0

    @property
    def groups(self) -> int:
        """How many groups the mean is taken of apart: one, or one more than twice the hostile clients."""
        return 2 * self.hostile_clients + 1

    @property
    def asked(self) -> int:
        """How many clients a round asks, where so many are able to take part."""
        # Rounded first: 10 * 0.1 is not 1 to a computer, and no client is charged for that.
        return self.cohort + math.ceil(round(self.cohort * self.over_selection, 9))

    def __post_init__(self) -> None:
        require_positive(
            "federation",
            rounds=self.rounds,
            cohort=self.cohort,
            min_replies=self.min_replies,
            server_rate=self.server_rate,
            timeout=self.timeout,
            release_every=self.release_every,
        )
        if self.min_replies > self.cohort:
            raise ConfigError(
                f"federation.min_replies {self.min_replies} is over federation.cohort {self.cohort}. Lower it."
            )
        if not 0 <= self.over_selection <= 1:
            raise ConfigError(
                f"federation.over_selection is {self.over_selection}. It lies between 0 and 1: everybody who is asked "
                "is charged."
            )
        if self.norm_bound is not None:
            require_positive("federation", norm_bound=self.norm_bound)
        self._check_aggregation()
        if self.sampling_rate is not None:
            self._check_coins(self.sampling_rate)

    def _check_aggregation(self) -> None:
        if self.aggregation == "mean" and self.hostile_clients:
            raise ConfigError(
                f"federation.hostile_clients is {self.hostile_clients}, and a mean withstands none. "
                'Set federation.aggregation = "median_of_means".'
            )
        if self.aggregation == "median_of_means" and self.hostile_clients < 1:
            raise ConfigError(
                f"federation.hostile_clients is {self.hostile_clients}. Say how many of a cohort median_of_means "
                "withstands: 1 or more."
            )
        if self.cohort < self.groups:
            raise ConfigError(
                f"To withstand {self.hostile_clients} hostile clients, median_of_means needs {self.groups} groups, and "
                f"federation.cohort is {self.cohort}. Raise it, or lower federation.hostile_clients."
            )

    def _check_coins(self, rate: float) -> None:
        if not 0 < rate <= 1:
            raise ConfigError(f"federation.sampling_rate is {rate}. It is a probability: over 0, at most 1.")
        if self.min_replies > 1:
            raise ConfigError(
                f"federation.min_replies is {self.min_replies}: a round that is dropped would tell how many secret "
                "coins showed heads. Leave it out with federation.sampling_rate."
            )
        if self.over_selection:
            raise ConfigError(
                f"federation.over_selection is {self.over_selection}: with federation.sampling_rate the coins alone "
                "say who counts. Leave it out."
            )
        if self.aggregation != "mean":
            raise ConfigError(
                f'federation.aggregation = "{self.aggregation}" draws groups of a cohort of known size, and '
                'federation.sampling_rate gives none. Use "mean".'
            )
