"""An engine whose asking can be watched: how many are connected, and how many have replied so far."""

from collections.abc import Iterator, Sequence

from fedrec.data.sequences import Ints
from fedrec.errors import ConfigError
from fedrec.service.clock import Clock, duration
from fedrec.service.standing import Standing
from fedrec.training.client import Instruction, Replies, Reply
from fedrec.training.collecting import Engine
from fedrec.training.masking import Masked, Masking, MaskingEngine, Pay


class WatchedEngine:
    """Asks as the engine within it does, and tells how that goes."""

    def __init__(self, engine: Engine, *, standing: Standing, clock: Clock) -> None:
        self._engine = engine
        self._standing = standing
        self._clock = clock

    def clients(self, number: int) -> Sequence[int] | Ints:
        """The clients that can be drawn."""
        return self._engine.clients(number)

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply | Replies]:
        """The replies of a cohort, counted; when the caller has enough, adding up begins."""
        number, replies, ends = instruction.round, 0, self._clock.steady() + timeout
        self._standing.say("asking", f"round {number} asks {len(cohort)} devices", round=number, replies=0)
        try:
            for reply in self._engine.collect(instruction, cohort, timeout=timeout):
                replies += len(reply.clients) if isinstance(reply, Replies) else reply.update is not None
                left = duration(max(0.0, ends - self._clock.steady()))
                message = (
                    f"round {number}: {replies} of {len(cohort)} devices that were asked have replied, {left} left"
                )
                self._standing.say("asking", message, replies=replies)
                yield reply
        finally:
            self._standing.say("noising", f"round {number} is added up: {replies} replies", replies=replies)

    def aggregate(
        self, instruction: Instruction, cohort: Sequence[int], masking: Masking, *, timeout: float, pay: Pay
    ) -> Masked:
        """The sum of a cohort under masks; how many have sent their part is known when it is paid for."""
        if not isinstance(self._engine, MaskingEngine):
            raise ConfigError("These rounds cannot be run under masks.")
        number = instruction.round

        def told(masked: Masked) -> None:
            self._standing.say("noising", f"round {number}: the masks are taken off its sum")
            pay(masked)

        message = f"round {number} asks {len(cohort)} devices, under masks"
        self._standing.say("asking", message, round=number, replies=0)
        return self._engine.aggregate(instruction, cohort, masking, timeout=timeout, pay=told)
