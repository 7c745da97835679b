"""The reference engine: a readable loop over the clients of a round, in this process."""

from collections.abc import Iterator, Sequence

from fedrec.errors import FedrecError
from fedrec.training.client import Instruction, Reply
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench


class ReferenceEngine:
    """Every client in turn; the yardstick that faster engines are held against."""

    def __init__(self, workbench: Workbench, folder: RunFolder) -> None:
        self._workbench = workbench
        self._folder = folder

    def clients(self) -> Sequence[int]:
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
