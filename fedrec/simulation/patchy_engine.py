"""An engine whose clients come and go: whoever is not there is not drawn, whoever is lost or late is not heard."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from fedrec.data.sequences import Ints
from fedrec.simulation.availability import Availability
from fedrec.training.client import Instruction, Replies, Reply
from fedrec.training.collecting import Engine, closing_replies
from fedrec.training.masking import Masked, Masking, MaskingEngine, Pay

LOST, LATE = "lost", "late"


class Simulated(Engine, MaskingEngine, Protocol):
    """What every engine of a simulation can do."""


class PatchyEngine:
    """Another engine's clients, as they are available; those that would not be heard are spared the work.

    enough: sound replies that close a round. A client that is lost or late counts as one that has paid.
    """

    def __init__(self, engine: Simulated, availability: Availability, *, enough: int) -> None:
        self._engine = engine
        self._availability = availability
        self._enough = enough

    def clients(self, number: int) -> Ints:
        """Those that are there in a round."""
        return self._availability.there(number)

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply | Replies]:
        """Who is lost or late, and then the others' replies, the first to arrive before the rest."""
        answers = self._availability.answers(instruction.round, cohort)
        yield from (Reply(client=client, code=LOST) for client in answers.lost)
        yield from (Reply(client=client, code=LATE) for client in answers.late)
        for some in (answers.in_time[: self._enough], answers.in_time[self._enough :]):
            with closing_replies(self._engine.collect(instruction, some, timeout=timeout)) as replies:
                yield from replies

    def aggregate(
        self,
        instruction: Instruction,
        cohort: Sequence[int],
        masking: Masking,
        *,
        timeout: float,
        pay: Pay,
        lost: Collection[int] = (),
    ) -> Masked:
        """The other engine's sum, of those that answer in time."""
        answers = self._availability.answers(instruction.round, cohort)
        gone = {*lost, *answers.lost, *answers.late}
        return self._engine.aggregate(instruction, cohort, masking, timeout=timeout, pay=pay, lost=gone)
