"""A program that is kept running: started again when it ends, later each time that it ends at once."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedrec.service.orphans import end_group
from fedrec.service.ports import is_taken

State = Literal["waiting", "starting", "running"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# A program that ran this long did not fail by starting.
_STEADY = 60.0
# So many ends in a row are told as what they are.
LOOP = 4
_UNANSWERED = 3
_PATIENCE = 120.0
_GRACE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is kept running.

    after: names of those that must answer before this one starts; when one of them ends, so does
    this one. answers: whether it does what it is for. ends: whether an end with code 0 is meant.
    port: where it listens on loopback; what another program says there is not taken for its answer.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    after: frozenset[str] = frozenset()
    answers: Callable[[], bool] = lambda: True
    ends: bool = False
    port: int | None = None


@dataclass(slots=True)
class Pauses:
    """How long to wait before a program is started again: twice as long after each early end."""

    failures: int = 0

    def after(self, lasted: float) -> float:
        """Seconds to wait after a process that lasted this long."""
        self.failures = 1 if lasted >= _STEADY else self.failures + 1
        return float(min(_FIRST_PAUSE * 2 ** (self.failures - 1), _LONGEST_PAUSE))


@dataclass(slots=True)
class Kept:
    """A program and its process of the moment. hindrance: why it has none. Times are of a monotonic clock."""

    program: Program
    state: State = "waiting"
    restarts: int = 0
    code: int | None = None
    due: float = 0.0
    started: float = 0.0
    unanswered: int = 0
    pauses: Pauses = field(default_factory=Pauses)
    process: subprocess.Popen[bytes] | None = None
    hindrance: str = ""

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def in_a_loop(self) -> bool:
        """Whether it ends again and again soon after its start."""
        return self.pauses.failures >= LOOP

    @property
    def is_finished(self) -> bool:
        """Whether it has done what it was for and ended."""
        return self.program.ends and self.process is None and self.code == 0

    def start(self, now: float) -> bool:
        """Whether the program has a process now; where something is in its way, the next start is due later."""
        self.started, self.unanswered, self.code, self.hindrance = now, 0, None, ""
        if self.program.port is not None and is_taken(self.program.port):
            self.hindrance = f"another program listens on port {self.program.port}"
        else:
            try:
                self.process, self.state = _launched(self.program), "starting"
            except OSError:
                self.hindrance = "the system has no room for it"
        if self.hindrance:
            self._wait_for_next(now)
        return not self.hindrance

    def has_ended(self, now: float) -> bool:
        """Whether the process has ended since the last look; what it started is ended with it."""
        if self.process is None or self.process.poll() is None:
            return False
        self._leave()
        self._wait_for_next(now)
        return True

    def look(self, now: float) -> bool:
        """Whether it answers; one that does not for long, or never does, is ended."""
        if self.program.answers():
            self.state, self.unanswered = "running", 0
            if now - self.started >= _STEADY:
                self.pauses.failures = 0
            return True
        self.unanswered += 1
        silent = self.state == "running" and self.unanswered >= _UNANSWERED
        if silent or (self.state == "starting" and now - self.started > _PATIENCE):
            self.end(grace=_GRACE)
            self._wait_for_next(now)
        return False

    def end(self, *, grace: float) -> None:
        """The process and all that it started are gone: asked first, then made to."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        until = time.monotonic() + grace
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self._leave(grace=until - time.monotonic())

    def _leave(self, *, grace: float = 0.0) -> None:
        """Whatever is left of the process and its group is gone too."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.code = self.process.wait()
            end_group(self.process.pid, grace=grace)
        self.process, self.state, self.due = None, "waiting", 0.0

    def _wait_for_next(self, now: float) -> None:
        self.restarts += 1
        self.due = now + self.pauses.after(now - self.started)


def _launched(program: Program) -> subprocess.Popen[bytes]:
    """A process of the program in a group of its own, whose output goes into its log."""
    handle = _output(program.log)
    try:
        return subprocess.Popen(
            program.command,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(handle)


def _output(log: Path) -> int:
    """Where a program writes: into its log, or nowhere if the disk is too full to begin one."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(log, flags | os.O_CREAT, 0o600)
    except OSError:
        return os.open(os.devnull, flags)
