"""What a round waits for, what it says meanwhile, and when it gives up: on a clock of the test's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import RefusedError
from fedrec.federation_config import FederationConfig
from fedrec.registry.control import Control, Wish, ask, wished
from fedrec.registry.registry import Registry
from fedrec.registry.status import RoundStatus, round_status
from fedrec.service.config import RoundsConfig
from fedrec.service.gate import Gate, StoppedError
from fedrec.service.logs import open_log
from fedrec.service.standing import Standing
from fedrec.training.drawing import Readiness
from tests.service.clocks import FakeClock

pytestmark = pytest.mark.slow

HOUR, DAY, POLL = 3600.0, 86_400.0, 20.0


class World:
    """A gate before a registry in a file, and a number of devices that the test changes."""

    def __init__(self, folder: Path, *, plans: dict[float, Callable[[], None]] | None = None, **rounds: Any) -> None:
        self.registry = Registry.open(f"sqlite:///{folder / 'r.db'}", artifacts=f"file://{folder / 'artifacts'}")
        self.time = FakeClock(plans)
        self.devices = Readiness(connected=40, able=40, needed=40)
        self.log = folder / "rounds.log"
        clock = self.time.clock()
        standing = Standing(self.registry, "films", rounds=9, clock=clock, log=open_log(self.log, part="rounds"))
        self.gate = Gate(
            rounds=RoundsConfig(**{"poll": POLL, **rounds}),
            federation=FederationConfig(cohort=40, timeout=300.0),
            wished=lambda: wished(self.registry, "films"),
            standing=standing,
            clock=clock,
        )

    def wish(self, wish: Wish) -> None:
        ask(self.registry, Control(catalogue="films", wish=wish, by="test", at=1))

    def begin(self, number: int = 3) -> float:
        """Pass the gate; returns the moment at which it opened."""
        self.gate(number, lambda: self.devices)
        return self.time.elapsed

    def told(self) -> RoundStatus:
        status = round_status(self.registry, "films")
        assert status is not None
        return status


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made: list[World] = []

    def make(**given: Any) -> World:
        made.append(World(tmp_path, **given))
        return made[-1]

    yield make
    for each in made:
        each.registry.close()


def test_a_round_whose_devices_are_there_begins_at_once(world: Any) -> None:
    assert world().begin() == 0.0


def test_a_round_waits_for_devices_and_says_for_how_many_and_how_long(world: Any) -> None:
    here = world(wait=3 * HOUR)
    here.devices = Readiness(connected=12, able=12, needed=40)
    seen: list[RoundStatus] = []
    here.time.plans[60.0] = lambda: seen.append(here.told())
    here.time.plans[HOUR] = lambda: setattr(here, "devices", Readiness(connected=41, able=41, needed=40))
    assert HOUR <= here.begin() <= HOUR + POLL
    assert seen[0].message == "round 3 is waiting for 12 of 40 devices, 3 h left"
    assert (seen[0].phase, seen[0].round, seen[0].needed, seen[0].connected) == ("waiting", 3, 40, 12)


def test_a_wait_that_is_in_vain_ends_with_a_refusal_that_says_what_to_do(world: Any) -> None:
    here = world(wait=2 * HOUR)
    here.devices = Readiness(connected=12, able=10, needed=40)
    with pytest.raises(RefusedError, match="waited 2 h for 40 devices, and 10 of the 12 that are connected") as refused:
        here.begin()
    assert "Enrol more" in str(refused.value)
    assert here.time.elapsed == pytest.approx(2 * HOUR, abs=POLL)


def test_devices_that_have_given_what_they_may_are_told_from_those_that_are_not_there(world: Any) -> None:
    here = world(wait=HOUR)
    here.devices = Readiness(connected=45, able=30, needed=40)
    here.time.plans[60.0] = lambda: setattr(here, "devices", Readiness(connected=45, able=45, needed=40))
    here.begin()
    assert "45 devices are connected, and the others rest or have given what they may" in here.told().message


def test_a_round_that_was_begun_goes_on_with_whoever_is_left_of_its_cohort(world: Any) -> None:
    here = world(wait=DAY, every=DAY)
    here.gate.last = here.time.START
    here.devices = Readiness(connected=3, able=1, needed=40, begun=True)
    # Not after a day, but after as long as a round waits for replies.
    assert here.begin() == pytest.approx(300.0, abs=POLL)
    assert "devices that it had asked" in here.told().message


def test_a_clock_that_jumps_ends_no_wait(world: Any) -> None:
    here = world(wait=HOUR)
    here.devices = Readiness(connected=0, able=0, needed=40)
    here.time.plans[60.0] = lambda: setattr(here.time, "shift", 10 * DAY)
    here.time.plans[120.0] = lambda: setattr(here, "devices", Readiness(connected=40, able=40, needed=40))
    assert here.begin() == pytest.approx(120.0, abs=POLL)


def test_a_round_waits_for_its_hours_and_says_when_they_are(world: Any) -> None:
    here = world(between=(1, 5))
    here.time.plans[60.0] = lambda: None
    assert here.begin() == pytest.approx(HOUR, abs=POLL)
    assert "begins at 2027-01-01 01:00 UTC" in here.told().message


def test_a_round_waits_for_its_interval(world: Any) -> None:
    here = world(every=HOUR)
    assert here.begin() == 0.0
    assert here.begin(4) == pytest.approx(HOUR, abs=POLL)


def test_waiting_for_an_hour_is_not_waiting_for_devices(world: Any) -> None:
    here = world(between=(10, 12), wait=HOUR, poll=300.0)
    here.devices = Readiness(connected=0, able=0, needed=40)
    with pytest.raises(RefusedError, match="waited 60 min for 40 devices"):
        here.begin()
    assert here.time.elapsed == pytest.approx(11 * HOUR, abs=600.0)


def test_a_pause_lasts_until_somebody_resumes_however_long(world: Any) -> None:
    here = world(wait=HOUR)
    here.wish("pause")
    seen: list[RoundStatus] = []
    here.time.plans[5 * DAY] = lambda: (seen.append(here.told()), here.wish("run"))
    here.time.sleep(5 * DAY - 30.0)
    assert here.begin() == pytest.approx(5 * DAY, abs=POLL)
    assert (seen[0].phase, seen[0].round) == ("paused", 3)
    assert "fedrec server resume" in seen[0].message


@pytest.mark.parametrize("when", [0.0, 60.0])
def test_a_stop_ends_the_rounds_before_anything_is_asked_also_while_they_wait(world: Any, when: float) -> None:
    here = world()
    here.devices = Readiness(connected=0, able=0, needed=40)
    if when:
        here.time.plans[when] = lambda: here.wish("stop")
    else:
        here.wish("stop")
    with pytest.raises(StoppedError, match="before round 3"):
        here.begin()
    assert here.time.elapsed <= when + POLL


def test_a_stop_also_ends_a_pause(world: Any) -> None:
    here = world()
    here.wish("pause")
    here.time.plans[60.0] = lambda: here.wish("stop")
    with pytest.raises(StoppedError):
        here.begin()


def test_no_wait_is_silent(world: Any) -> None:
    """The row is fresh at every moment, and the log says now and then that the wait goes on."""
    here = world(wait=6 * HOUR)
    here.devices = Readiness(connected=0, able=0, needed=40)
    ages: list[float] = []
    for moment in range(60, int(6 * HOUR), 60):
        here.time.plans[moment] = lambda: ages.append(here.time.START + here.time.elapsed - here.told().updated_at)
    with pytest.raises(RefusedError):
        here.begin()
    assert len(ages) == 359
    assert max(ages) <= 60.0 + POLL
    lines = here.log.read_text().splitlines()
    assert 10 <= len(lines) <= 15
    assert "is waiting for 0 of 40 devices" in lines[-1]
