"""Which of a simulation's clients are there in a round, and which of those that are asked answer in time.

All of it follows from the seed, and from no one's data or coins: a run that goes on meets the same clients again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrec.availability_config import AvailabilityConfig
from fedrec.data.sequences import Ints
from fedrec.training.recipe import draw_seed
from fedrec.training.workbench import Workbench

_Doubles = npt.NDArray[np.float64]

_DAY = 24.0
# Nights on the charger: when they begin by the local clock, how long they last, how much one differs from the last.
_BEGINS, _BEGINS_SPREAD = 22.5, 1.5
_LASTS, _LASTS_SPREAD, _SHORTEST, _LONGEST = 7.5, 1.0, 3.0, 12.0
_NIGHTLY_SPREAD = 0.5
# The least of a share that is uneven: nobody is quite without hope, or quite sure.
_LEAST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A cohort as it answers: in time, in order of arrival; too late; never."""

    in_time: list[int]
    late: list[int]
    lost: list[int]


class Availability:
    """Who is there, and who answers, over the rounds of a run. clients: of the population."""

    def __init__(self, config: AvailabilityConfig, *, clients: int, seed: int, deadline: float) -> None:
        self._config = config
        self._clients = clients
        self._seed = seed
        self._deadline = deadline
        own = self._generator("clients")
        # Ten bytes or so for each client, whatever the pattern.
        self._share = _uneven(own, config, clients).astype(np.float32)
        self._clock = ((own.random(clients) - 0.5) * config.zones).astype(np.float32)
        self._speed = own.standard_normal(clients, dtype=np.float32)

    def there(self, number: int) -> Ints:
        """The clients that can be reached for a round, ascending; round 0 is at midnight of the middle time zone."""
        hour = number * self._config.round_minutes / 60
        if self._config.pattern == "diurnal":
            return np.flatnonzero(self._awake(hour))
        if self._config.pattern == "charging":
            return np.flatnonzero(self._charging(hour))
        return np.arange(self._clients)

    def answers(self, number: int, cohort: Sequence[int]) -> Answers:
        """How a cohort that was asked in a round answers it."""
        config, asked = self._config, np.asarray(cohort, dtype=np.int64)
        # Drawn by client and not by place in the cohort: who else was asked changes nothing.
        chance = self._generator("answers", number)
        lost = chance.random(self._clients)[asked] < config.drop_out if config.drop_out else np.zeros(len(asked), bool)
        seconds = self._seconds(chance, asked) if config.reply_seconds else np.zeros(len(asked))
        late = ~lost & (seconds > self._deadline)
        order = np.argsort(seconds, kind="stable")
        in_time = order[~(lost | late)[order]]
        return Answers(in_time=asked[in_time].tolist(), late=asked[late].tolist(), lost=asked[lost].tolist())

    def _awake(self, hour: float) -> npt.NDArray[np.bool_]:
        """By a coin for each client and hour; the busiest is eight in the evening by its own clock."""
        swing = self._config.swing * np.cos(2 * np.pi * (hour + self._clock - 20) / _DAY)
        odds = np.log(self._share) - np.log1p(-self._share) + swing
        there: npt.NDArray[np.bool_] = self._generator("hour", int(hour)).random(self._clients) < 1 / (
            1 + np.exp(-odds)
        )
        return there

    def _charging(self, hour: float) -> npt.NDArray[np.bool_]:
        """Within the client's night, if that is one in which it is plugged in and on a network that costs nothing."""
        own = self._generator("nights")
        begins = _BEGINS + _BEGINS_SPREAD * own.standard_normal(self._clients)
        lasts = np.clip(_LASTS + _LASTS_SPREAD * own.standard_normal(self._clients), _SHORTEST, _LONGEST)
        since = hour + self._clock - begins
        night = np.floor(since / _DAY).astype(np.int64)
        there = np.zeros(self._clients, dtype=np.bool_)
        for each in np.unique(night).tolist():
            chance = self._generator("night", each)
            plugged = chance.random(self._clients) < self._share
            ends = lasts + _NIGHTLY_SPREAD * chance.standard_normal(self._clients)
            there |= (night == each) & plugged & (since - each * _DAY < ends)
        return there

    def _seconds(self, chance: np.random.Generator, asked: Ints) -> _Doubles:
        """Log-normal; half of the variance is the device's own, so that slow ones are slow again."""
        luck = chance.standard_normal(self._clients)[asked]
        deviation = self._config.spread * (self._speed[asked] + luck) / np.sqrt(2)
        return np.asarray(self._config.reply_seconds * np.exp(deviation))

    def _generator(self, *labels: object) -> np.random.Generator:
        return np.random.default_rng(draw_seed(self._seed, "availability", *labels))


def availability_of(workbench: Workbench) -> Availability | None:
    """Of a scenario's clients; None where all of them always are there, and answer."""
    scenario = workbench.scenario
    config = scenario.availability
    if config.pattern == "always" and not (config.drop_out or config.reply_seconds):
        return None
    clients, deadline = len(workbench.members), scenario.federation.timeout
    return Availability(config, clients=clients, seed=scenario.seed, deadline=deadline)


def _uneven(own: np.random.Generator, config: AvailabilityConfig, clients: int) -> _Doubles:
    """(U,) each client's own share, `config.share` on average."""
    if config.uneven == 0 or config.share == 1:
        return np.full(clients, min(config.share, 1 - _LEAST))
    concentration = (1 - config.uneven) / config.uneven
    shares = own.beta(config.share * concentration, (1 - config.share) * concentration, clients)
    return np.clip(shares, _LEAST, 1 - _LEAST)
