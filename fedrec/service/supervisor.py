"""Keeps the programs of a service running, in their order, and says what becomes of them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from fedrec.service.logs import rotate
from fedrec.service.orphans import lay_to_rest
from fedrec.service.processes import Kept, Program
from fedrec.service.telling import Telling

_LOOK_SECONDS = 10.0
_LOOK_WHILE_STARTING_SECONDS = 0.5
_GRACE_SECONDS = 15.0


class Supervisor:
    """Programs that are kept running; one after another calls `step`, and `stop` at the end."""

    def __init__(self, programs: Sequence[Program], *, log: FilteringBoundLogger, state: Path) -> None:
        self.kept = [Kept(program=program) for program in programs]
        self._log = log
        self._state = Telling(state)
        self._looked = dict.fromkeys((program.name for program in programs), 0.0)

    def step(self) -> None:
        """Whoever ended is noticed, whoever is due is started, whoever runs is looked at."""
        now = time.monotonic()
        for kept in self.kept:
            if kept.has_ended(now):
                self._ended(kept)
        lay_to_rest(but=[kept.pid for kept in self.kept if kept.pid is not None])
        for kept in self.kept:
            if kept.process is None and not kept.is_finished and now >= kept.due and self._is_ready_for(kept):
                self._start(kept, now)
            elif kept.process is not None and now >= self._looked[kept.program.name]:
                self._look(kept, now)
        self._write_state()

    def named(self, name: str) -> Kept:
        """The program of this name."""
        return next(kept for kept in self.kept if kept.program.name == name)

    def stop(self) -> None:
        """No process is left, the last started first."""
        for kept in reversed(self.kept):
            if kept.process is not None:
                kept.end(grace=_GRACE_SECONDS)
                self._log.info("stopped", program=kept.program.name, code=kept.code)
        self._write_state()

    def _is_ready_for(self, kept: Kept) -> bool:
        return all(self.named(name).state == "running" for name in kept.program.after)

    def _start(self, kept: Kept, now: float) -> None:
        attempt = kept.restarts + 1
        if not kept.start(now):
            name = kept.program.name
            self._log.error("cannot be started now", program=name, attempt=attempt, problem=kept.hindrance)
            return
        self._looked[kept.program.name] = now
        self._log.info("started", program=kept.program.name, pid=kept.pid, attempt=attempt)

    def _look(self, kept: Kept, now: float) -> None:
        before = kept.state
        if kept.look(now) and before != "running":
            self._log.info("answers", program=kept.program.name, pid=kept.pid, seconds=round(now - kept.started, 1))
        elif kept.process is None:
            self._log.error("did not answer and was ended", program=kept.program.name, attempt=kept.restarts)
            self._end_dependents(kept)
        with suppress(OSError):
            rotate(kept.program.log)
        pause = _LOOK_SECONDS if kept.state == "running" else _LOOK_WHILE_STARTING_SECONDS
        self._looked[kept.program.name] = now + pause

    def _ended(self, kept: Kept) -> None:
        """Say how it ended, louder if it does so again and again; what needs it ends too."""
        if kept.is_finished:
            self._log.info("finished", program=kept.program.name)
            return
        pause = round(kept.due - time.monotonic())
        told = self._log.error if kept.in_a_loop else self._log.warning
        word = "ends again and again" if kept.in_a_loop else "ended"
        told(word, program=kept.program.name, code=kept.code, attempt=kept.restarts, seconds=pause)
        self._end_dependents(kept)

    def _end_dependents(self, kept: Kept) -> None:
        for other in reversed(self.kept):
            if kept.program.name in other.program.after and other.process is not None:
                # Not asked for long: what it would tell goes to one that is gone.
                other.end(grace=1.0)
                self._log.info("ended with another", program=other.program.name, problem=kept.program.name)

    def _write_state(self) -> None:
        """`state.json` says what runs; a disk that is full does not stop what runs."""
        programs = [
            {"name": kept.program.name, "state": kept.state, "pid": kept.pid, "restarts": kept.restarts}
            | {"in_a_loop": kept.in_a_loop, "finished": kept.is_finished, "last_code": kept.code}
            for kept in self.kept
        ]
        try:
            self._state.tell({"programs": programs})
        except OSError as error:
            self._log.error("state cannot be written", problem=error.strerror)
