"""Tells how the rounds of one catalogue stand: a row for the operator's page, log lines, and how long what took."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from fedrec.errors import DataError, FedrecError
from fedrec.registry.registry import Registry
from fedrec.registry.status import Phase, RoundStatus, tell
from fedrec.service.clock import Clock

# The row is written anew this often where only counts change, and at least this often.
_OFTEN, _SELDOM = 2.0, 60.0
# A line that says the same again.
_LOG_AGAIN = 1800.0


class Standing:
    """The row of a catalogue. A registry that does not answer costs lines of it, never a round."""

    def __init__(
        self, registry: Registry, catalogue: str, *, rounds: int, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._log = log
        now = int(clock.utc())
        self._row = RoundStatus(
            catalogue=catalogue,
            phase="waiting",
            round=0,
            rounds=rounds,
            needed=0,
            connected=0,
            replies=0,
            message="",
            since=now,
            updated_at=now,
        )
        self._told = self._logged = float("-inf")
        self._lap = clock.steady()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def say(self, phase: Phase, message: str = "", **counts: int) -> None:
        """This is how it stands. counts: of `round`, `needed`, `connected` and `replies`, those that changed."""
        before, now = self._row, self._clock.steady()
        self._seconds[before.phase] += now - self._lap
        self._lap = now
        utc = int(self._clock.utc())
        moved = (before.phase, before.round) != (phase, counts.get("round", before.round))
        times = {"since": utc if moved else before.since, "updated_at": utc}
        self._row = replace(before, phase=phase, message=message, **times, **counts)  # type: ignore[arg-type]
        changed = replace(self._row, updated_at=before.updated_at) != before
        if moved or now - self._told >= (_OFTEN if changed else _SELDOM):
            self._told = now
            self._write()
        if moved or now - self._logged >= _LOG_AGAIN:
            self._logged = now
            self._log.info(message or phase, catalogue=before.catalogue, round=self._row.round, phase=phase)

    def count(self, **counts: int) -> None:
        """The same phase goes on with other counts."""
        self.say(self._row.phase, self._row.message, **counts)

    def seconds(self) -> Mapping[str, float]:
        """How long each phase took since this was asked last."""
        self.count()
        taken = {phase: round(seconds, 3) for phase, seconds in self._seconds.items() if seconds}
        self._seconds.clear()
        return taken

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What ends the block is told before it goes on: a refusal in its own words, anything else by its kind."""
        try:
            yield
        except FedrecError as error:
            self.say("failed", str(error))
            raise
        except OSError as error:
            self.say("failed", f"The rounds ended by a fault of the system: {error.strerror}. They are started again.")
            raise
        except Exception as error:
            self.say("failed", f"The rounds ended by a fault ({type(error).__name__}). They are started again.")
            raise

    def _write(self) -> None:
        try:
            tell(self._registry, self._row)
        except DataError as error:
            self._log.warning("the state of the rounds cannot be told", problem=str(error))
