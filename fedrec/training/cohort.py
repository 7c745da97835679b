"""The cohort engine: all clients of a round in batched computations, in this process.

Equal to the reference engine but for the order of sums; what clients pay stands in one ledger for all of them.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch

from fedrec.data.sequences import Ints
from fedrec.errors import ConfigError, FedrecError, RefusedError, UnsafeUpdateError
from fedrec.privacy.randomness import RandomSource, noise_source
from fedrec.privacy.statement import composed_epsilon
from fedrec.secagg.masks import Words, word_type
from fedrec.training.blocks import Block, blocks_of
from fedrec.training.client import Instruction, Replies, Reply, require_sound
from fedrec.training.cohort_model import CohortModel
from fedrec.training.cohort_records import CohortRecords
from fedrec.training.cohort_round import CohortRound, Contributions
from fedrec.training.examples import MOST_ENTRIES
from fedrec.training.histories import Histories, are_few
from fedrec.training.local import TorchLearner
from fedrec.training.masking import Masked, MaskedReply, Masking, Pay
from fedrec.training.participant import encoded
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

_PACKED = 4096


class CohortEngine:
    """The clients of a simulation. Close it at the end of the run: it holds their ledger.

    products: precision of products with the catalogue, `dtype` if None; whatever is clipped and noised is `dtype`.
    Raises ConfigError for a model or a mode that it cannot train so, RefusedError for a run that another engine began.
    """

    def __init__(
        self,
        workbench: Workbench,
        folder: RunFolder,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        products: torch.dtype | None = None,
    ) -> None:
        scenario = workbench.scenario
        if products is not None and scenario.privacy.mode == "local":
            raise ConfigError(
                'privacy.mode = "local" clips gradients by products, which have to be as exact as the noise assumes. '
                "Use --precision float32."
            )
        oldest = scenario.model.window + max(MOST_ENTRIES, scenario.training.positions)
        self._workbench = workbench
        self._learner = TorchLearner(workbench.model)
        self._model = CohortModel.of(
            workbench.model,
            oldest=oldest,
            dtype=dtype,
            device=device,
            products=products,
            sampled=bool(scenario.training.negatives),
        )
        self._records = CohortRecords(folder, clients=len(workbench.members))
        self._workers: Executor = ThreadPoolExecutor(torch.get_num_threads())

    def close(self) -> None:
        """Let go of the clients' ledger, and of the threads."""
        self._workers.shutdown()
        self._records.close()

    def clients(self, number: int) -> Sequence[int]:  # noqa: ARG002
        """Every client of the population."""
        return range(len(self._workbench.members))

    def collect(
        self,
        instruction: Instruction,
        cohort: Sequence[int],
        *,
        timeout: float,  # noqa: ARG002
    ) -> Iterator[Reply | Replies]:
        """Train the cohort, block by block; nobody is late."""
        plan = self._workbench.plan
        try:
            if plan is not None and plan.secure_sum is not None:
                raise RefusedError("The server asks for updates in clear. These clients take part under masks alone.")
            willing = self._willing(instruction, cohort)
        except FedrecError as error:
            yield from (Reply(client=client, code=error.code) for client in cohort)
            return
        yield from (Reply(client=client, code="BudgetError") for client in sorted({*cohort} - {*willing.tolist()}))
        attempts = self._paid(instruction, willing)
        for made in self._contributions(instruction, willing):
            clients, rows = made.clients, made.rows
            if not made.sound.all():
                lost = clients[~made.sound].tolist()
                yield from (Reply(client=client, code=UnsafeUpdateError.__name__) for client in lost)
                clients, rows = clients[made.sound], rows[made.sound]
            yield Replies(clients=clients, updates=rows, attempts=attempts[np.searchsorted(willing, clients)])

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
        """The sum that masks would give, without any."""
        masked = Masked(instruction=instruction, cohort=cohort)
        kind = word_type(masking.ring.bits)
        total: Words = np.zeros(len(instruction.adapter), dtype=kind)
        reached = [client for client in cohort if client not in lost]
        if silent := len(cohort) - len(reached):
            masked.failures["unreachable"] += silent
        try:
            willing = self._willing(instruction, reached)
        except FedrecError as error:
            masked.failures[error.code] += len(reached)
            return masked
        if refused := len(reached) - len(willing):
            masked.failures["BudgetError"] += refused
        if len(willing) < masking.parameters.least_survivors:
            # Fewer shares of the noise than were planned.
            masked.failures["too_few"] += 1
            return masked
        masked.spent = set(willing.tolist())
        attempts = self._paid(instruction, willing)
        for client, attempt in zip(willing.tolist(), attempts.tolist(), strict=True):
            masked.hear(MaskedReply(client=client, attempts=attempt), paid=True)
        for made in self._contributions(instruction, willing):
            # Every row is sound: what is not finite is cut to zeros where updates are clipped.
            for row, source in zip(made.rows, made.sources, strict=True):
                total += encoded(masking, row, source=source)
        pay(masked)
        masked.total, masked.survivors = total & kind.type(2**masking.ring.bits - 1), len(willing)
        return masked

    def _willing(self, instruction: Instruction, cohort: Sequence[int]) -> Ints:
        """Who of a cohort takes part, ascending; raises FedrecError where nobody would."""
        workbench, asked = self._workbench, np.unique(np.asarray(cohort, dtype=np.int64))
        require_sound(instruction, workbench.plan, self._learner)
        if workbench.plan is None or not len(asked):
            return asked
        able = self._records.may_pay(
            asked,
            workbench.plan,
            instruction,
            self._blocks(instruction),
            budget=workbench.budget,
            now=time.time(),
            epsilon_of=composed_epsilon,
        )
        return asked[able]

    def _paid(self, instruction: Instruction, clients: Ints) -> Ints:
        """Put what the clients spend on the disk; which attempt at this round it is for each."""
        plan = self._workbench.plan
        if plan is None or not len(clients):
            return np.zeros(len(clients), dtype=np.int64)
        secret = self._workbench.scenario.privacy.noise == "system"
        guarantee = None if plan.mode == "central" else secret
        blocks = self._blocks(instruction)
        return self._records.pay(clients, plan, instruction, blocks, guarantee=guarantee, time=int(time.time()))

    def _blocks(self, instruction: Instruction) -> list[Block]:
        plan = self._workbench.plan
        size = len(self._model.items) if instruction.task == "popularity" else self._model.layout.size
        return blocks_of(plan, instruction.task, size=size) if plan else []

    def _contributions(self, instruction: Instruction, clients: Ints) -> Iterator[Contributions]:
        """What the clients send; so many histories are packed at once that memory is flat in the cohort."""
        workbench = self._workbench
        scenario, model = workbench.scenario, self._model.with_prior(workbench.model)

        def source_of(client: int) -> RandomSource:
            return noise_source(scenario.privacy.noise, scenario.seed, "client", client, "round", instruction.round)

        for start in range(0, len(clients), _PACKED):
            some = clients[start : start + _PACKED]
            yield from CohortRound(
                model=model,
                training=scenario.training,
                plan=workbench.plan,
                instruction=instruction,
                clients=some,
                places=some if self._everybody else np.arange(len(some)),
                histories=self._everybody or self._histories(some),
                source_of=source_of,
                workers=self._workers,
            ).contributions()

    @cached_property
    def _everybody(self) -> Histories | None:
        """What all clients train on, where they are few: packed once, and not in every round."""
        if not are_few(self._workbench.split):
            return None
        return self._histories(np.arange(len(self._workbench.members)), keep=True)

    def _histories(self, clients: Ints, *, keep: bool = False) -> Histories:
        workbench = self._workbench
        return Histories.of(
            workbench.split,
            [workbench.members[client] for client in clients.tolist()],
            workbench.shape,
            self._model.padding(workbench.scenario.training.heads),
            keep=keep,
        )
