"""Lets a round begin: when the operator allows it, at its hour, and once enough devices are there.

Nothing waits in silence: what is waited for is told, and after a limit the rounds end with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fedrec.errors import RefusedError
from fedrec.federation_config import FederationConfig
from fedrec.registry.control import Control
from fedrec.service.clock import Clock, duration
from fedrec.service.config import RoundsConfig
from fedrec.service.schedule import next_start
from fedrec.service.standing import Standing
from fedrec.training.drawing import Readiness


class StoppedError(RefusedError):
    """The operator wished that the rounds end."""


@dataclass(slots=True, kw_only=True)
class Gate:
    """Called before each round, with its number and a way to ask who is there.

    wished: the operator's last word. last: when the round before began, in UTC seconds.
    """

    rounds: RoundsConfig
    federation: FederationConfig
    wished: Callable[[], Control]
    standing: Standing
    clock: Clock
    last: float | None = None
    _waiting_since: float | None = field(default=None, init=False)

    def __call__(self, number: int, readiness: Callable[[], Readiness]) -> None:
        """Return when the round may ask its clients.

        Raises StoppedError where the operator says so, RefusedError where too few devices came in time.
        """
        self._waiting_since = None
        looked = self.clock.steady()
        while pause := self._pause(number, readiness):
            # Who may still take part is looked up in the whole ledger: a long one is looked at less often.
            took = self.clock.steady() - looked
            self.clock.sleep(min(pause, max(self.rounds.poll, 10 * took)))
            looked = self.clock.steady()
        self.last = self.clock.utc()

    def _pause(self, number: int, readiness: Callable[[], Readiness]) -> float:
        """Seconds until it is worth looking again; 0 when the round may begin."""
        wish = self.wished()
        if wish.wish == "stop":
            message = f"Stopped before round {number}: `fedrec server resume` goes on."
            self.standing.say("stopped", message, round=number)
            raise StoppedError(message)
        if wish.wish == "pause":
            self._waiting_since = None
            self.standing.say("paused", f"Paused before round {number}: `fedrec server resume` goes on.", round=number)
            return self.rounds.poll
        ready = readiness()
        counts = {"round": number, "needed": ready.needed, "connected": ready.connected, "replies": 0}
        now = self.clock.utc()
        opens = next_start(self.rounds, now=now, last=None if ready.begun else self.last)
        if opens > now:
            self._waiting_since = None
            at = datetime.fromtimestamp(opens, tz=UTC)
            message = f"round {number} begins at {at:%Y-%m-%d %H:%M} UTC, in {duration(opens - now)}"
            self.standing.say("waiting", message, **counts)
            return opens - now
        if ready.able >= ready.needed:
            return 0.0
        return self._wait_for_devices(number, ready, counts)

    def _wait_for_devices(self, number: int, ready: Readiness, counts: dict[str, int]) -> float:
        now = self.clock.steady()
        if self._waiting_since is None:
            self._waiting_since = now
        limit = min(self.rounds.wait, self.federation.timeout) if ready.begun else self.rounds.wait
        left = self._waiting_since + limit - now
        if left <= 0:
            if ready.begun:  # whoever is gone was asked before the interruption, and is charged
                return 0.0
            raise RefusedError(
                f"Round {number} waited {duration(limit)} for {ready.needed} devices, and {ready.able} of the "
                f"{ready.connected} that are connected may take part. Enrol more, lower federation.cohort or raise "
                "rounds.wait."
            )
        self.standing.say("waiting", _waiting(number, ready, left), **counts)
        return left


def _waiting(number: int, ready: Readiness, left: float) -> str:
    """What a round waits for, in one line."""
    asked = " that it had asked" if ready.begun else ""
    message = f"round {number} is waiting for {ready.able} of {ready.needed} devices{asked}, {duration(left)} left"
    if not ready.begun and ready.connected >= ready.needed:
        message += f"; {ready.connected} devices are connected, and the others rest or have given what they may"
    return message
