"""Keeps one Flower run per catalogue going until its rounds are done or the operator stops them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from structlog.typing import FilteringBoundLogger

from fedrec.config_file import load_scenario
from fedrec.errors import FedrecError
from fedrec.registry.control import wished
from fedrec.registry.registry import Registry
from fedrec.registry.status import RoundStatus, round_status
from fedrec.service.folder import ServiceFolder
from fedrec.service.superlink import ServedRun, served_run, served_runs, start_run, stop_run
from fedrec.service.telling import Telling, told
from fedrec.service.turns import is_served
from fedrec.training.run_folder import is_cut_off

Standing = Literal["serving", "starting", "waiting", "stopped", "done", "failing"]

# The exit code that tells it from a crash.
KEEPS_FAILING = 3
_TICK_SECONDS = 2.0
# A process that served has ended, or is about to say so; asking Flower costs a second of computing.
_QUIET_SECONDS = 5.0
_ASK_SECONDS = 10.0
# Until a run's process is there and has read its model.
_START_SECONDS = 300.0
# Rounds that went on this long did not fail by starting.
_STEADY_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 900.0
_FAILURES_AT_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What is asked of the SuperLink about runs."""

    start: Callable[[ServiceFolder, str], int] = start_run
    stop: Callable[[ServiceFolder, int], None] = stop_run
    one: Callable[[ServiceFolder, int], ServedRun | None] = served_run
    every: Callable[[ServiceFolder], list[ServedRun]] = served_runs


@dataclass(slots=True)
class Kept:
    """What is known of one catalogue's run. problem: why the last one ended. Times are of a monotonic clock."""

    run: int | None = None
    problem: str = ""
    started: float = 0.0
    served_since: float | None = None
    quiet_since: float | None = None
    ask_at: float = 0.0
    due: float = 0.0
    failures: int = 0
    standing: Standing = "waiting"


@dataclass(slots=True)
class Keeper:
    """The runs of a service. `step` looks at each catalogue once."""

    folder: ServiceFolder
    registry: Registry
    log: FilteringBoundLogger
    superlink: Runs = field(default_factory=Runs)
    clock: Callable[[], float] = time.monotonic
    runs: dict[str, Kept] = field(default_factory=dict)
    _told: Telling = field(init=False)

    def __post_init__(self) -> None:
        self._told = Telling(self.folder.runs)

    def adopt(self) -> None:
        """Runs of an earlier keeper whose rounds go on are kept; all others of this SuperLink are stopped."""
        serving = {
            int(about["run"]): name
            for name, about in told(self.folder.runs).items()
            if str(about.get("run")).isdigit() and is_served(self.folder.catalogue(name))
        }
        for run in self.superlink.every(self.folder):
            if run.finished:
                continue
            if run.id in serving:
                self.runs[serving[run.id]] = Kept(run=run.id, served_since=self.clock(), standing="serving")
            else:
                self.log.info("an earlier run is stopped", run=str(run.id), status=run.status)
                self.superlink.stop(self.folder, run.id)

    def step(self) -> None:
        """Each catalogue's run is started, started again, or left, as it stands; a fault of one stops no other."""
        for name in self.folder.names():
            kept = self.runs.setdefault(name, Kept())
            try:
                self._look(name, kept)
            except (FedrecError, OSError) as error:
                problem = str(error) if isinstance(error, FedrecError) else error.strerror
                self.log.warning("cannot look after the rounds", catalogue=name, problem=problem)
                kept.ask_at = self.clock() + _ASK_SECONDS
        self._remember()

    def standing(self) -> dict[str, Standing]:
        """How each catalogue stood at the last look."""
        return {name: kept.standing for name, kept in self.runs.items()}

    def _look(self, name: str, kept: Kept) -> None:
        if is_served(self.folder.catalogue(name)):
            self._note_serving(kept)
        elif kept.run is None:
            self._start_if_wanted(name, kept)
        else:
            self._ask_if_quiet(name, kept, kept.run)

    def _note_serving(self, kept: Kept) -> None:
        now = self.clock()
        kept.served_since = now if kept.served_since is None else kept.served_since
        kept.quiet_since, kept.standing = None, "serving"
        if now - kept.served_since >= _STEADY_SECONDS:
            kept.failures = 0

    def _start_if_wanted(self, name: str, kept: Kept) -> None:
        now = self.clock()
        kept.standing = self._resting(name, kept)
        if kept.standing in ("stopped", "done") or now < max(kept.due, kept.ask_at):
            return
        kept.run = self.superlink.start(self.folder, name)
        kept.started, kept.served_since, kept.quiet_since, kept.standing = now, None, None, "starting"
        # At once: a run that nobody remembers is stopped by the next who keeps them.
        self._remember()
        self.log.info("rounds are started", catalogue=name, run=str(kept.run), attempt=kept.failures + 1)

    def _resting(self, name: str, kept: Kept) -> Standing:
        status = round_status(self.registry, name)
        if status is not None and status.phase == "done":
            return "done"
        if wished(self.registry, name).wish == "stop" and not (status and self._owes(name, status)):
            return "stopped"
        return "failing" if kept.failures >= _FAILURES_AT_MOST else "waiting"

    def _owes(self, name: str, status: RoundStatus) -> bool:
        """Whether rounds were killed while replies came in: they run once more, to pay and to say that they stop."""
        place = self.folder.catalogue(name)
        if status.phase == "stopped" or not is_cut_off(place.run):
            return False
        return load_scenario(place.scenario).privacy.mode in ("local", "distributed")

    def _ask_if_quiet(self, name: str, kept: Kept, run: int) -> None:
        """Ask Flower what became of a run that nobody serves; one whose process is gone is over."""
        now = self.clock()
        if kept.quiet_since is None:
            kept.quiet_since = now
        if now - kept.quiet_since < _QUIET_SECONDS or now < kept.ask_at:
            return
        kept.ask_at = now + _ASK_SECONDS
        found = self.superlink.one(self.folder, run)
        if found is None or found.finished:
            self._over(name, kept, found)
        elif kept.served_since is not None or now - kept.started > _START_SECONDS:
            self.superlink.stop(self.folder, run)
            self._over(name, kept, found)

    def _over(self, name: str, kept: Kept, found: ServedRun | None) -> None:
        """The run is over; another one is due after a pause, longer after each that failed."""
        now = self.clock()
        status = found.status if found else "forgotten"
        kept.failures += 1
        pause = min(_FIRST_PAUSE * 2 ** (kept.failures - 1), _LONGEST_PAUSE)
        kept.run, kept.due, kept.problem = None, now + pause, found.details if found else ""
        say = self.log.error if kept.failures >= _FAILURES_AT_MOST else self.log.info
        say("rounds have ended", catalogue=name, status=status, problem=kept.problem, seconds=pause)

    def _remember(self) -> None:
        """Who keeps the runs after a kill finds them, and `status` says how they stand."""
        known = {
            name: {
                "run": None if kept.run is None else str(kept.run),
                "standing": kept.standing,
                "problem": kept.problem,
            }
            for name, kept in self.runs.items()
        }
        try:
            self._told.tell(known)
        except OSError as error:
            self.log.error("runs cannot be written", problem=error.strerror)


def keep_runs(keeper: Keeper, *, once: bool, stopping: Callable[[float], bool]) -> int:
    """Keep the runs going until `stopping(seconds to wait)` says so; the code to exit with.

    once: end when every catalogue is done or stopped, with KEEPS_FAILING if one of them does.
    """
    keeper.adopt()
    while True:
        keeper.step()
        standing = set(keeper.standing().values())
        if once and standing <= {"done", "stopped", "failing"}:
            return KEEPS_FAILING if "failing" in standing else 0
        if stopping(_TICK_SECONDS):
            return 0
