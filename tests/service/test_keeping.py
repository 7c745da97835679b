import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedrec.errors import DataError
from fedrec.registry.control import Control, Wish, ask
from fedrec.registry.registry import Registry
from fedrec.registry.status import Phase, RoundStatus, tell
from fedrec.service.config import NetworkConfig, ServiceConfig, artifacts_url, database_url
from fedrec.service.folder import ServiceFolder
from fedrec.service.keeping import KEEPS_FAILING, Keeper, Runs, keep_runs
from fedrec.service.logs import open_log
from fedrec.service.setup import make_service
from fedrec.service.superlink import ServedRun
from fedrec.service.telling import told
from fedrec.service.turns import turn


@dataclass
class _SuperLink:
    """A SuperLink of this test: it remembers runs, and how each stands."""

    status: dict[int, str] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    answers: bool = True

    @property
    def runs(self) -> Runs:
        return Runs(start=self._start, stop=self._stop, one=self._one, every=self._every)

    def _start(self, _: ServiceFolder, catalogue: str) -> int:
        if not self.answers:
            raise DataError("The SuperLink did not answer.")
        self.started.append(catalogue)
        run = 100 + len(self.started)
        self.status[run] = "running"
        return run

    def _stop(self, _: ServiceFolder, run: int) -> None:
        self.stopped.append(run)
        self.status[run] = "finished:stopped"

    def _one(self, _: ServiceFolder, run: int) -> ServedRun | None:
        return ServedRun(id=run, status=self.status[run], details="why") if run in self.status else None

    def _every(self, _: ServiceFolder) -> list[ServedRun]:
        return [ServedRun(id=run, status=status, details="") for run, status in self.status.items()]


class _World:
    """A service with one catalogue, its keeper, and a clock that only a test moves."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = make_service(tmp_path / "service", network=NetworkConfig(), now=datetime.now(UTC))
        self.add("films")
        config = ServiceConfig()
        self.registry = Registry.open(database_url(self.folder, config), artifacts=artifacts_url(self.folder, config))
        self.superlink = _SuperLink()
        self.now = 1000.0
        self.keeper = self.new_keeper()

    def add(self, name: str) -> None:
        catalogue = self.folder.catalogue(name)
        catalogue.path.mkdir()
        catalogue.scenario.touch()

    def new_keeper(self) -> Keeper:
        log = open_log(self.folder.logs / "keeper.log", part="test")
        return Keeper(
            folder=self.folder, registry=self.registry, log=log, superlink=self.superlink.runs, clock=lambda: self.now
        )

    def after(self, seconds: float) -> None:
        """The keeper looks every two seconds for some time."""
        end = self.now + seconds
        while self.now < end:
            self.now += 2.0
            self.keeper.step()

    def wish(self, wish: Wish) -> None:
        ask(self.registry, Control(catalogue="films", wish=wish, by="test", at=int(self.now)))

    def asked(self, number: int, *, mode: str = "local") -> None:
        """A round of the run asked its clients, and that is all that is on the disk."""
        place = self.folder.catalogue("films")
        unit = "SEGMENT" if mode == "local" else "USER"
        place.scenario.write_text(f'name = "films"\n[privacy]\nmode = "{mode}"\nunit = "{unit}"\n')
        place.run.mkdir()
        (place.run / "pending.json").write_text(json.dumps({"round": number, "token": "t", "cohort": [0, 1]}))

    def phase(self, phase: Phase) -> None:
        tell(
            self.registry,
            RoundStatus(
                catalogue="films", phase=phase, round=3, rounds=3, needed=2, connected=2, replies=0, message="",
                since=0, updated_at=0,
            ),
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    made = _World(tmp_path)
    yield made
    made.registry.close()


def test_every_catalogue_has_a_run_of_its_own(world: _World) -> None:
    world.add("books")
    world.after(60)
    assert sorted(world.superlink.started) == ["books", "films"]
    assert world.keeper.standing() == {"books": "starting", "films": "starting"}


def test_a_catalogue_that_is_served_is_left_alone(world: _World) -> None:
    world.after(4)
    with turn(world.folder.catalogue("films")):
        world.after(1_000)
    assert world.superlink.started == ["films"]
    assert world.superlink.stopped == []


def test_rounds_whose_process_was_killed_are_started_again_before_flower_notices(world: _World) -> None:
    world.after(4)
    with turn(world.folder.catalogue("films")):
        world.after(100)
    assert world.superlink.status[101] == "running"
    world.after(60)
    assert world.superlink.started == ["films", "films"]
    assert world.superlink.stopped == [101]


def test_a_run_that_failed_is_started_again_later_each_time(world: _World) -> None:
    starts = []
    for _ in range(8):
        while not world.superlink.started or world.superlink.status[100 + len(world.superlink.started)] != "running":
            world.after(2)
        starts.append(world.now)
        world.superlink.status[100 + len(world.superlink.started)] = "finished:failed"
        world.after(20)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 100


def test_a_run_that_keeps_failing_says_why(world: _World) -> None:
    for _ in range(5):
        world.after(100)
        world.superlink.status[100 + len(world.superlink.started)] = "finished:failed"
        world.after(20)
    world.after(2)
    assert world.keeper.standing() == {"films": "failing"}
    assert told(world.folder.runs)["films"]["problem"] == "why"
    assert '"level": "error"' in (world.folder.logs / "keeper.log").read_text()


def test_rounds_that_are_done_are_not_started_again(world: _World) -> None:
    world.after(4)
    world.phase("done")
    world.superlink.status[101] = "finished:completed"
    world.after(1_000)
    assert world.superlink.started == ["films"]
    assert world.keeper.standing() == {"films": "done"}


def test_what_the_operator_stopped_goes_on_when_he_says_so(world: _World) -> None:
    world.after(4)
    world.wish("stop")
    world.phase("stopped")
    world.superlink.status[101] = "finished:completed"
    world.after(1_000)
    assert world.superlink.started == ["films"]
    assert world.keeper.standing() == {"films": "stopped"}
    world.wish("run")
    world.after(4)
    assert world.superlink.started == ["films", "films"]


def test_rounds_that_were_killed_while_they_asked_run_once_more_before_they_stop(world: _World) -> None:
    """They owe what came until then."""
    world.phase("asking")
    world.asked(3)
    world.wish("stop")
    world.after(4)
    assert world.superlink.started == ["films"]
    world.phase("stopped")
    world.superlink.status[101] = "finished:completed"
    world.after(1_000)
    assert world.superlink.started == ["films"]


@pytest.mark.parametrize("mode", ["central", "none"])
def test_rounds_that_owe_nothing_for_what_came_stop_at_once(world: _World, mode: str) -> None:
    world.phase("asking")
    world.asked(3, mode=mode)
    world.wish("stop")
    world.after(100)
    assert world.superlink.started == []


def test_a_round_that_was_finished_owes_nothing(world: _World) -> None:
    world.phase("publishing")
    world.asked(3)
    (world.folder.catalogue("films").run / "rounds.jsonl").write_text('{"round": 3}\n')
    world.wish("stop")
    world.after(100)
    assert world.superlink.started == []


def test_a_round_that_was_added_up_is_paid_for_and_waits_for_the_operator(world: _World) -> None:
    world.phase("publishing")
    world.asked(3)
    counts = {"counts": np.array([3, 4, 4]), "mean": np.zeros(2)}
    (world.folder.catalogue("films").run / "mean.safetensors").write_bytes(save(counts))
    world.wish("stop")
    world.after(100)
    assert world.superlink.started == []


def test_rounds_that_never_asked_anybody_stop_at_once(world: _World) -> None:
    world.phase("waiting")
    world.wish("stop")
    world.after(100)
    assert world.superlink.started == []


def test_a_process_that_never_comes_is_given_up(world: _World) -> None:
    world.after(200)
    assert world.superlink.started == ["films"]
    world.after(200)
    assert world.superlink.stopped == [101]
    assert world.superlink.started == ["films", "films"]


def test_a_superlink_that_does_not_answer_is_asked_again(world: _World) -> None:
    world.superlink.answers = False
    world.after(60)
    world.superlink.answers = True
    world.after(20)
    assert world.superlink.started == ["films"]


def test_after_a_kill_the_next_keeper_goes_on_with_the_rounds_that_go_on(world: _World) -> None:
    world.after(4)
    with turn(world.folder.catalogue("films")):
        world.after(4)
        world.keeper = world.new_keeper()
        world.keeper.adopt()
        world.after(100)
    world.after(60)
    assert world.superlink.stopped == [101]
    assert world.superlink.started == ["films", "films"]


def test_after_a_kill_a_run_that_nobody_serves_is_stopped_first(world: _World) -> None:
    world.after(4)
    world.superlink.status[7] = "pending"
    world.keeper = world.new_keeper()
    world.keeper.adopt()
    assert sorted(world.superlink.stopped) == [7, 101]
    world.after(4)
    assert world.superlink.started == ["films", "films"]


@pytest.mark.parametrize(("phase", "expected"), [("done", 0), ("stopped", 0)])
def test_once_ends_when_nothing_is_left_to_do(world: _World, phase: Phase, expected: int) -> None:
    world.phase(phase)
    world.wish("stop")
    assert keep_runs(world.keeper, once=True, stopping=lambda _: False) == expected
    assert world.superlink.started == []


def test_once_ends_with_a_code_of_its_own_if_the_rounds_keep_failing(world: _World) -> None:
    def wait(seconds: float) -> bool:
        world.now += seconds
        world.superlink.status.update(dict.fromkeys(world.superlink.status, "finished:failed"))
        return False

    assert keep_runs(world.keeper, once=True, stopping=wait) == KEEPS_FAILING
    assert len(world.superlink.started) == 5


def test_a_keeper_that_is_told_to_stop_leaves_the_rounds_to_their_own_end(world: _World) -> None:
    with ExitStack() as turns:

        def stop(_: float) -> bool:
            turns.enter_context(turn(world.folder.catalogue("films")))
            return True

        assert keep_runs(world.keeper, once=False, stopping=stop) == 0
    assert world.superlink.stopped == []
