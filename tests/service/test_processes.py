import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.service.processes import LOOP, Kept, Pauses, Program

_WAIT = 30.0


def _program(tmp_path: Path, command: str = "exec sleep 600", **settings: object) -> Program:
    given = {"name": "it", "environment": dict(os.environ), "log": tmp_path / "it.log", **settings}
    return Program(command=("sh", "-c", command), **given)  # type: ignore[arg-type]


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(program=_program(tmp_path))
    yield made
    made.end(grace=0.0)


def test_a_program_that_was_killed_is_noticed_and_due_again(kept: Kept) -> None:
    kept.start(now=0.0)
    assert kept.pid is not None
    assert not kept.has_ended(now=1.0)
    os.kill(kept.pid, signal.SIGKILL)
    _until(lambda: kept.has_ended(now=2.0))
    assert (kept.state, kept.code, kept.restarts) == ("waiting", -signal.SIGKILL, 1)
    assert kept.due > 2.0


def test_what_a_killed_program_had_started_ends_with_it(tmp_path: Path) -> None:
    kept = Kept(program=_program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait"))
    kept.start(now=0.0)
    _until(lambda: (tmp_path / "child").exists() and bool((tmp_path / "child").read_text()))
    child = int((tmp_path / "child").read_text())
    assert kept.pid is not None
    os.kill(kept.pid, signal.SIGKILL)
    _until(lambda: kept.has_ended(now=1.0))
    _until(lambda: not _is_there(child))


def test_an_end_reaches_those_who_do_not_listen(tmp_path: Path) -> None:
    kept = Kept(program=_program(tmp_path, "trap '' TERM; echo ready; while :; do sleep 1; done"))
    kept.start(now=0.0)
    _until(lambda: "ready" in kept.program.log.read_text())
    pid = kept.pid
    kept.end(grace=0.1)
    assert pid is not None
    assert not _is_there(pid)
    assert kept.code == -signal.SIGKILL


def test_an_end_lets_a_program_finish_what_it_does(tmp_path: Path) -> None:
    kept = Kept(
        program=_program(tmp_path, "trap 'echo finished; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    )
    kept.start(now=0.0)
    _until(lambda: "ready" in kept.program.log.read_text())
    kept.end(grace=_WAIT)
    assert kept.code == 0
    assert "finished" in kept.program.log.read_text()


def test_the_log_of_a_program_is_for_its_owner_alone(kept: Kept) -> None:
    kept.start(now=0.0)
    assert kept.program.log.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.floats(0.0, 59.0), min_size=1, max_size=20))
def test_each_early_end_is_followed_by_a_pause_no_shorter(lasted: list[float]) -> None:
    pauses = Pauses()
    waited = [pauses.after(seconds) for seconds in lasted]
    assert waited == sorted(waited)
    assert all(1.0 <= seconds <= 60.0 for seconds in waited)


@given(st.integers(0, 30))
def test_a_program_that_ran_for_long_is_started_soon(failures: int) -> None:
    assert Pauses(failures=failures).after(3600.0) == 1.0


def test_a_program_that_ends_again_and_again_is_in_a_loop(tmp_path: Path) -> None:
    kept = Kept(program=_program(tmp_path, "exit 7"))
    for _ in range(LOOP):
        assert not kept.in_a_loop
        kept.start(now=0.0)
        _until(lambda: kept.has_ended(now=0.1))
    assert kept.in_a_loop
    assert kept.code == 7


def test_a_program_that_falls_silent_is_ended(tmp_path: Path) -> None:
    answers = iter([True, True, False, False, False])
    kept = Kept(program=_program(tmp_path, answers=lambda: next(answers)))
    kept.start(now=0.0)
    assert kept.look(now=1.0)
    assert kept.look(now=2.0)
    assert not kept.look(now=3.0)
    assert not kept.look(now=4.0)
    assert kept.state == "running"
    assert not kept.look(now=5.0)
    assert kept.process is None
    assert kept.restarts == 1


def test_a_program_has_time_to_start_but_not_for_ever(tmp_path: Path) -> None:
    kept = Kept(program=_program(tmp_path, answers=lambda: False))
    kept.start(now=0.0)
    for now in range(1, 100):
        kept.look(now=float(now))
    assert kept.state == "starting"
    kept.look(now=1000.0)
    assert kept.process is None


def test_a_log_that_cannot_be_written_keeps_no_program_from_running(tmp_path: Path) -> None:
    kept = Kept(program=_program(tmp_path / "gone"))
    assert kept.start(now=0.0)
    assert kept.pid is not None
    kept.end(grace=_WAIT)


def test_a_program_that_cannot_be_started_is_due_later(tmp_path: Path) -> None:
    program = Program(name="it", command=(str(tmp_path / "nothing"),), environment={}, log=tmp_path / "it.log")
    kept = Kept(program=program)
    dues = []
    for _ in range(4):
        assert not kept.start(now=0.0)
        dues.append(kept.due)
    assert dues == sorted(set(dues))
    assert kept.in_a_loop
