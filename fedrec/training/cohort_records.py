"""What a simulated population has paid: one ledger for the clients of all its devices, and counts of it as arrays.

It stands for a ledger on every device: a client's spending is what the entries say that it took part in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from fedrec.data.sequences import Bools, Ints
from fedrec.errors import BudgetError, RefusedError
from fedrec.privacy.budget import Budget, EpsilonOf
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import Spend
from fedrec.training.blocks import Block
from fedrec.training.client import Instruction
from fedrec.training.run_folder import RunFolder


class CohortRecords:
    """Open on a run folder for as long as the run goes. clients: of the population.

    Raises RefusedError where the clients of this run have ledgers of their own: another engine ran it.
    """

    def __init__(self, folder: RunFolder, *, clients: int) -> None:
        if folder.client(0).parent.exists():
            raise RefusedError(
                f"{folder.path} was begun with an engine whose clients keep ledgers of their own. Resume it with that."
            )
        self._ledger = Ledger(folder.population_ledger)
        self._folder, self._clients = folder.path, clients
        self._taken: dict[str, Ints] = {}
        # One more than the last round of each; 0 for none.
        self._last = _column(self._folder, clients)
        # By token and kind, whom each entry names.
        self._named: dict[tuple[str, str], list[Ints]] = {}
        for entry in self._ledger.entries:
            self._count(entry)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def taken(self, kind: str) -> Ints:
        """(clients,) how often each has paid for releases of a kind."""
        if kind not in self._taken:
            self._taken[kind] = _column(self._folder, self._clients)
        return self._taken[kind]

    def may_pay(
        self,
        cohort: Ints,
        plan: PrivacyPlan,
        instruction: Instruction,
        blocks: Sequence[Block],
        *,
        budget: Budget | None,
        now: float,
        epsilon_of: EpsilonOf,
    ) -> Bools:
        """Which clients of a cohort cap, separation, rate limits and lifetime budget let take part."""
        cap = plan.limits.cap if instruction.task == "update" else 1
        able = self.taken(blocks[0].kind)[cohort] < cap
        if plan.limits.separation > 1:
            last = self._last[cohort]
            able &= (last == 0) | (np.abs(instruction.round + 1 - last) >= plan.limits.separation)
        if budget is not None:
            able &= self._within(cohort, budget, blocks, now=now, epsilon_of=epsilon_of)
        return able

    def pay(
        self, clients: Ints, plan: PrivacyPlan, instruction: Instruction, blocks: Sequence[Block], **facts: Any
    ) -> Ints:
        """Put what these clients spend on the disk; returns which attempt at this round it is for each."""
        attempts = 1 + self._attempts(clients, instruction.token, blocks[0].kind)
        for block in blocks:
            entry = {
                **plan.event(block.spend, kind=block.kind, clip_norm=block.clip_norm),
                "run": instruction.run,
                "round": instruction.round,
                "token": instruction.token,
                **facts,
                "bytes": 4 * block.size,
                "participants": clients.tolist(),
            }
            self._ledger.append(entry)
            self._count(entry)
        return attempts

    def _attempts(self, clients: Ints, token: str, kind: str) -> Ints:
        attempts: Ints = np.zeros_like(clients)
        for named in self._named.get((token, kind), []):
            attempts += np.isin(clients, named)
        return attempts

    def _count(self, entry: Mapping[str, Any]) -> None:
        who = np.asarray(entry["participants"], dtype=np.int64)
        self._named.setdefault((entry["token"], entry["kind"]), []).append(who)
        self.taken(entry["kind"])[who] += 1
        if entry["kind"] == "update":
            self._last[who] = entry["round"] + 1

    def _within(
        self, cohort: Ints, budget: Budget, blocks: Sequence[Block], *, now: float, epsilon_of: EpsilonOf
    ) -> Bools:
        """Clients that paid for the same releases are asked about once; at the same times, where rates are limited."""
        entries = self._ledger.entries
        if budget.per_day is None and budget.per_month is None:
            told = [self.taken(kind)[cohort] for kind in sorted(self._taken)]
        else:
            told = [np.isin(cohort, entry["participants"]).astype(np.int64) for entry in entries]
        _, first, which = np.unique(
            np.array(told).reshape(-1, len(cohort)), axis=1, return_index=True, return_inverse=True
        )
        more = [block.spend for block in blocks]
        room = [
            _has_room(
                budget,
                [entry for entry in entries if client in entry["participants"]],
                more,
                now=now,
                epsilon_of=epsilon_of,
            )
            for client in cohort[first].tolist()
        ]
        return np.asarray(room, dtype=np.bool_)[which.reshape(-1)]


def _column(folder: Path, size: int) -> Ints:
    """A zero for each client in a file without a name, whose pages the system may take out of memory."""
    with TemporaryFile(dir=folder) as file:
        file.truncate(max(size, 1) * np.dtype(np.int64).itemsize)
        column: Ints = np.asarray(np.memmap(file, dtype=np.int64, mode="r+", shape=(max(size, 1),)))
    return column[:size]


def _has_room(
    budget: Budget, entries: Sequence[Mapping[str, Any]], more: Sequence[Spend], *, now: float, epsilon_of: EpsilonOf
) -> bool:
    try:
        budget.require_room(entries, more, now=now, epsilon_of=epsilon_of)
    except BudgetError:
        return False
    return True
