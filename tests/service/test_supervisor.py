import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedrec.service.logs import open_log
from fedrec.service.processes import LOOP, Program
from fedrec.service.supervisor import Supervisor

_WAIT = 30.0


def _until(supervisor: Supervisor, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT
    while not happened():
        assert time.monotonic() < end
        supervisor.step()
        time.sleep(0.02)


def _program(tmp_path: Path, name: str, command: str = "exec sleep 600", **settings: Any) -> Program:
    return Program(
        name=name, command=("sh", "-c", command), environment=dict(os.environ), log=tmp_path / f"{name}.log", **settings
    )


class _Watched:
    """A supervisor, what it says, and its end."""

    def __init__(self, tmp_path: Path, *programs: Program) -> None:
        self.log, self.state = tmp_path / "service.log", tmp_path / "state.json"
        self.supervisor = Supervisor(programs, log=open_log(self.log, part="test"), state=self.state)

    def until_running(self, *names: str) -> None:
        _until(self.supervisor, lambda: all(self.supervisor.named(name).state == "running" for name in names))

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def pid(self, name: str) -> int:
        pid = self.supervisor.named(name).pid
        assert pid is not None
        return pid


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., _Watched]]:
    made: list[_Watched] = []

    def make(*programs: Program) -> _Watched:
        made.append(_Watched(tmp_path, *programs))
        return made[-1]

    yield make
    for watched in made:
        watched.supervisor.stop()


def test_a_program_waits_for_the_ones_that_it_needs(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    there: list[bool] = []
    first = _program(tmp_path, "first", answers=lambda: bool(there))
    watched = watch(first, _program(tmp_path, "second", after=frozenset({"first"})))
    _until(watched.supervisor, lambda: watched.supervisor.named("first").state == "starting")
    for _ in range(20):
        watched.supervisor.step()
    assert watched.supervisor.named("second").process is None
    there.append(True)
    watched.until_running("first", "second")


def test_what_another_program_answers_on_its_port_is_not_taken_for_its_own(
    watch: Callable[..., _Watched], tmp_path: Path
) -> None:
    """A copy of a service's folder beside the service: its rounds would run under the other's SuperLink."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        first = _program(tmp_path, "first", port=port, answers=lambda: True)
        watched = watch(first, _program(tmp_path, "second", after=frozenset({"first"})))
        _until(watched.supervisor, lambda: bool(watched.said("cannot be started now")))
        assert watched.supervisor.named("first").process is None
        assert watched.supervisor.named("second").process is None
        assert str(port) in watched.said("cannot be started now")[0]["problem"]
    watched.until_running("first", "second")


def test_whoever_is_killed_comes_back(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "first"), _program(tmp_path, "second"))
    watched.until_running("first", "second")
    for name in ("first", "second"):
        before = watched.pid(name)
        os.kill(before, signal.SIGKILL)
        _until(
            watched.supervisor,
            lambda name=name, before=before: watched.supervisor.named(name).pid not in (before, None),
        )  # type: ignore[misc]
    watched.until_running("first", "second")


def test_what_needs_a_program_that_ended_starts_anew_after_it(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "first"), _program(tmp_path, "second", after=frozenset({"first"})))
    watched.until_running("first", "second")
    before = watched.pid("second")
    os.kill(watched.pid("first"), signal.SIGKILL)
    _until(watched.supervisor, lambda: watched.supervisor.named("first").process is None)
    assert watched.supervisor.named("second").process is None
    watched.until_running("first", "second")
    assert watched.pid("second") != before
    assert watched.said("ended with another")


def test_a_loop_of_crashes_is_told_loudly(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "broken", "exit 3"))
    kept = watched.supervisor.named("broken")

    def again() -> bool:
        kept.due = 0.0  # the pauses grow, and a test does not wait for them
        return kept.restarts == LOOP

    _until(watched.supervisor, again)
    loud = watched.said("ends again and again")
    assert [(line["level"], line["code"], line["program"]) for line in loud] == [("error", 3, "broken")]
    assert json.loads(watched.state.read_text())["programs"][0]["in_a_loop"]


def test_a_program_that_has_done_what_it_was_for_stays_ended(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "short", "exit 0", ends=True))
    kept = watched.supervisor.named("short")
    _until(watched.supervisor, lambda: kept.is_finished)
    kept.due = 0.0
    for _ in range(10):
        watched.supervisor.step()
    assert kept.restarts == 1
    assert kept.process is None


def test_a_program_that_ends_well_although_it_should_not_is_started_again(
    watch: Callable[..., _Watched], tmp_path: Path
) -> None:
    watched = watch(_program(tmp_path, "short", "exit 0"))
    kept = watched.supervisor.named("short")

    def again() -> bool:
        kept.due = 0.0
        return kept.restarts >= 2

    _until(watched.supervisor, again)


def test_the_state_says_what_runs_and_is_the_owners_alone(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "first"))
    watched.until_running("first")
    watched.supervisor.step()
    found = json.loads(watched.state.read_text())["programs"]
    assert [(each["name"], each["state"], each["pid"]) for each in found] == [
        ("first", "running", watched.pid("first"))
    ]
    assert watched.state.stat().st_mode & 0o777 == 0o600


def test_a_stop_leaves_nobody(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    watched = watch(_program(tmp_path, "first"), _program(tmp_path, "second", after=frozenset({"first"})))
    watched.until_running("first", "second")
    pids = [watched.pid("first"), watched.pid("second")]
    watched.supervisor.stop()
    assert not [pid for pid in pids if (Path("/proc") / str(pid)).exists()]
    assert [line["program"] for line in watched.said("stopped")] == ["second", "first"]


def test_a_log_that_has_grown_too_long_begins_anew(watch: Callable[..., _Watched], tmp_path: Path) -> None:
    log = tmp_path / "first.log"
    log.write_bytes(b"x" * (11 << 20))
    watched = watch(_program(tmp_path, "first", "echo new; exec sleep 600"))
    watched.until_running("first")
    _until(watched.supervisor, lambda: (tmp_path / "first.log.1").exists())
    assert log.stat().st_size < 1 << 20
