"""Finished rounds as the registry keeps them: counts and sums, whether they were told at once or after a kill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedrec.registry.registry import Registry
from fedrec.registry.status import FinishedRound, finish, finished_rounds
from fedrec.service.clock import Clock

# The phases of a round itself, without what it waited for.
_AT_WORK = ("asking", "noising", "publishing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """One run's rounds. numbers: in an instruction and in a reply, of four bytes each."""

    registry: Registry
    catalogue: str
    run: str
    numbers: tuple[int, int]
    clock: Clock

    def add(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """The round of a record is kept. seconds: by phase."""
        sent, returned = self.numbers
        finish(
            self.registry,
            FinishedRound(
                catalogue=self.catalogue,
                run=self.run,
                round=record["round"],
                finished_at=int(self.clock.utc()),
                asked=record["asked"],
                replies=record["replies"],
                failures=record["failures"],
                seconds=seconds,
                bytes=4 * (sent * record["asked"] + returned * record["replies"]),
                epsilon=record["epsilon"],
                released_metrics=_figures(record["released_metrics"]),
            ),
        )

    def catch_up(self, records: list[dict[str, Any]]) -> None:
        """Rounds that counted before they could be told are kept, too; their phases are not known any more."""
        told = max((each.round for each in self._finished(1000)), default=0)
        for record in records:
            if record["round"] > told:
                self.add(record, {"noising": record["seconds"]})

    def last_began(self) -> float | None:
        """When the last round began to ask, in UTC seconds; None before the first."""
        last = self._finished(1)
        if not last:
            return None
        return last[0].finished_at - sum(last[0].seconds.get(phase, 0.0) for phase in _AT_WORK)

    def _finished(self, last: int) -> list[FinishedRound]:
        found = finished_rounds(self.registry, self.catalogue, last=last)
        return [each for each in found if each.run == self.run]


def _figures(metrics: Mapping[str, Mapping[str, float]] | None) -> dict[str, float]:
    """Released metrics, flat: each value, and the standard deviation of the noise on it."""
    values = {name: each["value"] for name, each in (metrics or {}).items()}
    return values | {f"{name}_noise_std": each["noise_std"] for name, each in (metrics or {}).items()}
