"""What the clients of a cohort contribute to one round, a block of clients at a time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedrec.config import TrainingConfig
from fedrec.data.sequences import Bools, Ints
from fedrec.privacy.plan import PopularityRelease, PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.aggregation import all_finite
from fedrec.training.blocks import METRICS
from fedrec.training.client import Instruction
from fedrec.training.cohort_model import CohortModel
from fedrec.training.cohort_step import Steps
from fedrec.training.contribution import LARGEST_LOSS
from fedrec.training.histories import Histories
from fedrec.training.learner import shared_negatives
from fedrec.training.padding import Padded

Rows = npt.NDArray[np.float32]

# Numbers in a block's tensors, so that they stay near the processor, and in memory that is used again.
_NUMBERS = 5_000_000
_FEWEST_NUMBERS = 500_000
_MOST_CLIENTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """What some clients send, a row each. sound: (C,) whether it is finite. sources: of each, where it drew any."""

    clients: Ints
    rows: Rows
    sound: Bools
    sources: Sequence[RandomSource] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRound:
    """One round's work. clients: who is asked. places: (C,) where each is among the `histories`.

    source_of: a client's randomness of this round, asked for where it noises or masks by itself. workers: as many as
    there are cores.
    """

    model: CohortModel
    training: TrainingConfig
    plan: PrivacyPlan | None
    instruction: Instruction
    clients: Ints
    places: Ints
    histories: Histories
    source_of: Callable[[int], RandomSource]
    workers: Executor

    def contributions(self) -> Iterator[Contributions]:
        """Of all clients, in an order that packs histories of like length together."""
        # Threads of a product that was shared out would keep the cores from the workers for a while.
        with _one_thread_each() as threads:
            steps = self._steps()
            work = [partial(self._block, steps, which) for which in self._blocks(threads)]
            yield from _ahead(self.workers, work, most=2 * threads)

    def _steps(self) -> Steps:
        rows = shared_negatives(len(self.model.items), self.training.negatives, self.instruction.negatives_seed)
        negatives = None if rows is None else torch.from_numpy(rows).to(self.model.items.device)
        others = self.model.others(negatives, log_weight=self.training.log_weight(len(self.model.items)))
        return Steps.of(self.model, self.training, others, self.instruction.adapter)

    def _block(self, steps: Steps, which: Ints) -> Contributions:
        clients, places = self.clients[which], self.places[which]
        draws = self.plan is not None and self.plan.mode != "central" and self.instruction.task == "update"
        sources = [self.source_of(client) for client in clients.tolist()] if draws else []
        rows = self._rows(steps, places, sources)
        return Contributions(clients=clients, rows=rows, sound=all_finite(rows), sources=sources)

    def _rows(self, steps: Steps, places: Ints, sources: Sequence[RandomSource]) -> Rows:
        if self.instruction.task == "popularity" and self.plan and self.plan.popularity:
            return self._popularity(places, self.plan.popularity)
        batch = self.histories.batch(places)
        if self.plan is None:
            return _numpy(steps.plain(batch))
        if self.plan.mode == "local":
            return _numpy(steps.private(batch, self.plan, sources))
        return self._clipped(steps, batch, self.plan)

    def _clipped(self, steps: Steps, batch: Padded, plan: PrivacyPlan) -> Rows:
        """See `contribution.clipped_update`; what is not finite counts as nothing, as from a client without data."""
        updates = steps.plain(batch)
        norms = torch.linalg.vector_norm(updates, dim=1)
        sound = norms.isfinite()
        bounded = updates.mul_((plan.clip_norm / norms.clamp(min=plan.clip_norm)).unsqueeze(1))
        bounded = bounded if bool(sound.all()) else bounded.where(sound.unsqueeze(1), 0.0)
        blocks = [bounded]
        if plan.metrics_noise is not None:
            there = sound & torch.from_numpy(batch.owners.counts > 0).to(sound.device)
            metrics = self._metrics(steps, batch, clipped=norms > plan.clip_norm)
            blocks.append(metrics.where(there.unsqueeze(1), 0.0))
        return _numpy(bounded if len(blocks) == 1 else torch.cat(blocks, dim=1))

    def _metrics(self, steps: Steps, batch: Padded, *, clipped: Tensor) -> Tensor:
        """(C, 4) see `contribution.metrics_of`."""
        loss, hits, targets = self.model.quality(batch, steps.shared)
        per_client = batch.owners.per_client
        mean = per_client(loss * batch.owners.share)
        rate = per_client(hits) / per_client(targets).clamp(min=1)
        one = torch.ones_like(mean)
        values = torch.stack([(mean / LARGEST_LOSS).clamp(0, 1), rate.to(one), clipped.to(one), one], dim=1)
        # Four entries of at most 1 have norm at most 2.
        return values.div_(len(METRICS) ** 0.5)

    def _popularity(self, places: Ints, release: PopularityRelease) -> Rows:
        """(C, N) see `contribution.popularity_vector`; a client has one unit here."""
        units = self.histories.of_clients(places)
        aimed = np.flatnonzero(units.aims > 0)
        owner = np.repeat(units.owner, np.diff(units.starts))[aimed]
        latest = np.searchsorted(owner, owner, side="right") - np.arange(len(owner)) <= release.items
        rows = np.zeros((len(places), len(self.model.items)), dtype=np.float32)
        rows[owner[latest], units.targets[aimed[latest]]] = release.items**-0.5
        return rows

    def _blocks(self, threads: int) -> Iterator[Ints]:
        """Which clients' histories are of like length, so many that their tensors stay small."""
        positions, entries = self.histories.sizes[:, self.places]
        scored, width = self.training.negatives or len(self.model.items), self.model.items.shape[1]
        numbers = positions * (scored + 4 * width) + entries * width + 2 * self.model.layout.size
        if self.model.catalogue.similar is not None:
            numbers += np.minimum(entries // 4, positions) * scored
        # Something for every worker to do, where there is enough of it.
        most = min(_NUMBERS, max(_FEWEST_NUMBERS, -(-int(numbers.sum()) // threads)))
        order = np.lexsort((entries, positions))
        first, widest = 0, 0
        for place, wide in enumerate(numbers[order].tolist()):
            widest = max(widest, wide)
            if place > first and (widest * (place + 1 - first) > most or place - first == _MOST_CLIENTS):
                yield order[first:place]
                first, widest = place, wide
        if len(order):
            yield order[first:]


def _numpy(rows: Tensor) -> Rows:
    return rows.float().cpu().numpy()


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Products of one thread, as a block is too small to be shared out; how many threads they have otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _ahead(workers: Executor, work: Sequence[Callable[[], Contributions]], *, most: int) -> Iterator[Contributions]:
    """What the work comes to, in its order; `most` pieces are under way or waiting, and no more is kept."""
    waiting: deque[Future[Contributions]] = deque()
    try:
        for piece in work:
            waiting.append(workers.submit(piece))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Nobody listens any more: what has not begun is not begun.
        for each in waiting:
            each.cancel()
