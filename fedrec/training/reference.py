"""The reference engine: a readable loop over the clients of a round, in this process."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from fedrec.errors import FedrecError, RefusedError
from fedrec.secagg.masks import Words, word_type
from fedrec.training.client import Instruction, Reply
from fedrec.training.masking import Masked, MaskedReply, Masking, Pay
from fedrec.training.participant import Participant
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench


class ReferenceEngine:
    """Every client in turn; the yardstick that faster engines are held against."""

    def __init__(
        self, workbench: Workbench, folder: RunFolder, participant_of: Callable[[int], Participant] | None = None
    ) -> None:
        self._workbench = workbench
        self._folder = folder
        self._participant_of = participant_of

    def clients(self, number: int) -> Sequence[int]:  # noqa: ARG002
        """Every client of the population."""
        return range(len(self._workbench.members))

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:  # noqa: ARG002
        """Train the cohort, one after the other; nobody is late."""
        for number in cohort:
            client = self._workbench.client(number, self._folder.client(number))
            try:
                yield client.reply(instruction)
            except FedrecError as error:
                yield Reply(client=number, code=type(error).__name__)

    def aggregate(
        self,
        instruction: Instruction,
        cohort: Sequence[int],
        masking: Masking,
        *,
        timeout: float,  # noqa: ARG002
        pay: Pay,
        lost: Collection[int] = (),
    ) -> Masked:
        """The sum that masks would give, without any: what rounds under masks are held against."""
        masked = Masked(instruction=instruction, cohort=cohort)
        reached = sorted(client for client in cohort if client not in lost)
        if silent := len(cohort) - len(reached):
            masked.failures["unreachable"] += silent
        if len(reached) < masking.parameters.least_survivors:
            # Fewer shares of the noise than were planned.
            masked.failures["too_few"] += 1
            return masked
        masked.spent = set(reached)
        kind = word_type(masking.ring.bits)
        total: Words = np.zeros(len(instruction.adapter), dtype=kind)
        for number in reached:
            words, attempts = self._participant(number).words(instruction)
            masked.hear(MaskedReply(client=number, attempts=attempts), paid=True)
            total += words
        pay(masked)
        masked.total, masked.survivors = total & kind.type(2**masking.ring.bits - 1), len(reached)
        return masked

    def _participant(self, number: int) -> Participant:
        if self._participant_of is None:
            raise RefusedError("These clients take part in no rounds under masks.")
        return self._participant_of(number)
