"""The real rounds over canaries: what a reader of the releases would have seen.

`run_rounds`, the reference engine, clients, local training, clips, ledgers and noise are the
deployed ones. In `central` mode the reader has the adapter before and after each round, and in
`distributed` mode so has the server: grid, shares and words are the deployed ones, and added up
without masks. In `local` mode the reader is the server, and has each hub's reply.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fedrec.audit.bench import CLIP_NORM, DELTA, LOCAL_STEPS, RELEASES, CanaryBench, canary_bench
from fedrec.audit.canaries import SIZE, Canaries, training_canaries
from fedrec.data.sequences import Ints
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.accounting import Spending, epsilon_of, spending_by_client
from fedrec.privacy.ledger import read_events
from fedrec.privacy.mechanism import Doubles
from fedrec.privacy_config import Mode
from fedrec.simulation.engines import participant
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Instruction, Reply
from fedrec.training.collecting import Engine
from fedrec.training.masking import Masked, Masking, Pay, masking_of
from fedrec.training.recipe import Recipe
from fedrec.training.reference import ReferenceEngine
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What a reader saw, and what was charged for it.

    releases: (RELEASES, SIZE) in units in which a canary at the clip norm counts 1 and
    sound noise has std NOISE. release_of: (m,) the release that a canary could enter.
    spending: the least that anybody who took part was charged. longest_reply: in clip norms.
    """

    releases: Doubles
    release_of: Ints
    spending: Spending
    longest_reply: float


class WatchedEngine:
    """Another engine, with a record of who replied what in which round."""

    def __init__(self, engine: ReferenceEngine) -> None:
        self._engine = engine
        self.updates: dict[int, FlatAdapter] = {}
        self.round_of: dict[int, int] = {}

    def clients(self, number: int) -> Sequence[int] | Ints:
        """Those of the other engine."""
        return self._engine.clients(number)

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:
        """The other engine's replies, as they are."""
        for reply in self._engine.collect(instruction, cohort, timeout=timeout):
            self.round_of[reply.client] = instruction.round
            if reply.update is not None:
                self.updates[reply.client] = reply.update
            yield reply

    def aggregate(
        self, instruction: Instruction, cohort: Sequence[int], masking: Masking, *, timeout: float, pay: Pay
    ) -> Masked:
        """The other engine's sum, as it is."""
        self.round_of.update(dict.fromkeys(cohort, instruction.round))
        return self._engine.aggregate(instruction, cohort, masking, timeout=timeout, pay=pay)


def observe(mode: Mode, canaries: Canaries, *, seed: int) -> Observed:
    """Run the audited configuration over canaries, on ledgers that are thrown away."""
    with tempfile.TemporaryDirectory(dir=memory()) as place, training_canaries():
        folder = RunFolder(Path(place), "", resume=False)
        bench = canary_bench(mode, canaries)
        engine = WatchedEngine(ReferenceEngine(bench, folder, partial(participant, bench, folder)))
        adapters = _run(bench, engine, folder, seed)
        releases, release_of = (_hubs if mode == "local" else _rounds)(bench, engine, adapters)
        return Observed(
            releases=releases,
            release_of=release_of,
            spending=_least_charged(folder, engine),
            longest_reply=max((float(np.linalg.norm(each)) for each in engine.updates.values()), default=0) / CLIP_NORM,
        )


def _run(bench: CanaryBench, engine: Engine, folder: RunFolder, seed: int) -> list[FlatAdapter]:
    """All rounds; the adapter before the first and after each."""
    start = ServerState.start(np.zeros(SIZE, dtype=np.float32))
    adapters = [start.adapter]
    recipe = Recipe(
        federation=bench.scenario.federation,
        plan=bench.plan,
        layout=bench.model.layout.hash,
        run_id="audit",
        seed=seed,
        noise="system",
        catalogue=bench.model.base.catalogue_size,
        masking=masking_of(bench.plan, dict),
    )
    hooks = Hooks(measure=lambda state: adapters.append(state.adapter), publish=lambda *_: None, report=lambda _: None)
    run_rounds(folder, engine, recipe, start, hooks)
    return adapters


def _rounds(bench: CanaryBench, engine: WatchedEngine, adapters: Sequence[FlatAdapter]) -> tuple[Doubles, Ints]:
    """What each round added, and the round that each canary's client was drawn in; -1 if in none."""
    moved = np.diff(np.stack(adapters).astype(np.float64), axis=0)
    rounds = np.array([engine.round_of.get(client, 0) for client in range(len(bench.members))])
    return moved * bench.scenario.federation.cohort / CLIP_NORM, rounds - 1


def _hubs(bench: CanaryBench, engine: WatchedEngine, _: Sequence[FlatAdapter]) -> tuple[Doubles, Ints]:
    """What each hub replied, and the hub that each canary lives on."""
    nothing = np.zeros(SIZE, dtype=np.float32)
    replies = np.stack([engine.updates.get(hub, nothing) for hub in range(RELEASES)]).astype(np.float64)
    step = bench.scenario.training.learning_rate / bench.scenario.privacy.expected_batch
    return replies / (step * CLIP_NORM * LOCAL_STEPS), np.arange(len(bench.canaries)) % RELEASES


def _least_charged(folder: RunFolder, engine: WatchedEngine) -> Spending:
    """What the client that was charged least was charged: a participation without an entry must show."""
    charged = spending_by_client(read_events(folder.ledger))
    return min({charged.get(client, ()) for client in engine.round_of}, key=lambda each: epsilon_of(each, delta=DELTA))


def memory() -> str | None:
    """A folder in memory where the system has one: what is thrown away need not reach a disk."""
    shared = Path("/dev/shm")  # noqa: S108
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None
