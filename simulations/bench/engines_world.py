"""fedrec's own engines in the benchmark of engines: random people before a random catalogue, rounds in central mode.

A round is what `RoundServer` asks, adds up and noises. What goes to the disk is left out, as the other frameworks keep
no ledger: the server's, some writes a round whatever the cohort, and the clients', which are in memory here.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from engines_model import (
    CLIP_NORM,
    COHORT,
    ITEMS,
    KINDS,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    RANK,
    SCALE,
    WIDTH,
    Floats,
    Kind,
    adapter_of,
)
from torch.utils.flop_counter import FlopCounterMode

from fedrec.config import AdapterConfig, DataConfig, ModelConfig, Scenario, TrainingConfig
from fedrec.data.sequences import History, Sequences
from fedrec.data.splits import Split
from fedrec.federation_config import FederationConfig
from fedrec.model.adapter import AdaptedModel
from fedrec.model.build import adapt, build_recommender
from fedrec.model.item_index import ItemIndex, build_index
from fedrec.privacy.mechanism import noised_sum
from fedrec.privacy.randomness import system_source
from fedrec.privacy_config import PrivacyConfig
from fedrec.secagg.planned import plan_of
from fedrec.training.aggregation import UpdateSum
from fedrec.training.blocks import blocks_of
from fedrec.training.client import Client, Instruction
from fedrec.training.cohort import CohortEngine
from fedrec.training.collecting import Engine, Until, ask
from fedrec.training.reference import ReferenceEngine
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

_DAY = 86_400
# Files that lie here cost no turn of a disk.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108


def catalogue() -> ItemIndex:
    """Random vectors, whitened as any catalogue's are."""
    embeddings = np.random.default_rng(1).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    return build_index(embeddings, [f"i{row}" for row in range(ITEMS)], encoder_name="random", encoder_hash="0")


def people(kind: Kind, *, clients: int = COHORT) -> Split:
    """One person per client, with `kind.events` to learn from behind the first, nothing held out."""
    draw, length = np.random.default_rng(2), kind.events + 1
    rows = np.concatenate([draw.choice(ITEMS, size=length, replace=False) for _ in range(clients)])
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    entries = History(
        rows=rows,
        times=np.tile(np.arange(length) * _DAY, clients),
        weights=np.ones(len(rows), dtype=np.float32),
        targets=np.ones(len(rows), dtype=np.bool_),
        intents=unknown,
        ratings=unknown,
    )
    offsets = np.arange(clients + 1) * length
    sequences = Sequences(
        user_ids=[f"u{user}" for user in range(clients)], offsets=offsets, entries=entries, items=ITEMS, texts=[]
    )
    nobody = np.full(clients, -1)
    return Split(sequences, nobody, nobody)


def scenario_of(kind: Kind, *, clients: int = COHORT) -> Scenario:
    """The settings of a kind of work."""
    return Scenario(
        name=f"engines-{kind.name}",
        data=DataConfig(users_per_client=1),
        model=ModelConfig(scale=SCALE),
        adapter=AdapterConfig(ranks={"history_proj": RANK}),
        training=TrainingConfig(learning_rate=LEARNING_RATE, positions=kind.events, negatives=kind.negatives),
        federation=FederationConfig(rounds=1_000, cohort=clients),
        privacy=PrivacyConfig(
            mode="central", clip_norm=CLIP_NORM, noise_multiplier=NOISE_MULTIPLIER, participations=100_000
        ),
    )


class Bench(Workbench):
    """A workbench whose clients keep their records in memory: a loop is not held up by a hundred files a round."""

    def client(self, client: int, store: Path) -> Client:
        """As `Workbench.client`, with records of its own for each store."""
        found = super().client(client, store)
        return Client(**{name: getattr(found, name) for name in Client.__slots__} | {"records": _Records.of(store)})


def workbench(kind: Kind, *, clients: int = COHORT, files: bool = False) -> Workbench:
    """A kind of work, ready to train. files: whether each client writes its records to the disk."""
    scenario, index, split = scenario_of(kind, clients=clients), catalogue(), people(kind, clients=clients)
    model = adapt(build_recommender(scenario.model, index), scenario.model, scenario.adapter, index)
    return (Workbench if files else Bench)(
        scenario=scenario,
        dataset=None,  # type: ignore[arg-type]  # nothing here is read from a folder
        split=split,
        query_vectors=np.zeros((0, WIDTH), dtype=np.float32),
        index=index,
        model=model,
        plan=plan_of(scenario),
        members=[np.array([user]) for user in range(clients)],
    )


class _Records(SimpleNamespace):
    """A client's ledger and last reply, in memory."""

    _all: dict[Path, "_Records"] = {}  # noqa: RUF012

    @classmethod
    def of(cls, store: Path) -> "_Records":
        return cls._all.setdefault(store, cls(ledger=SimpleNamespace(entries=[]), kept=None))

    @contextmanager
    def open_ledger(self) -> Iterator[SimpleNamespace]:
        self.ledger.append = self.ledger.entries.append
        yield self.ledger

    def spent(self) -> list[dict[str, Any]]:
        return self.ledger.entries

    def reply(self, token: str) -> tuple[Floats, int] | None:
        return self.kept[1:] if self.kept and self.kept[0] == token else None

    def keep(self, token: str, update: Floats, *, attempts: int) -> None:
        self.kept = (token, update, attempts)


def save_problem(file: Path) -> None:
    """Write the world as arrays for those who have no fedrec: (C, P, d) asked and taste, (C, P) targets, (C, M) own."""
    arrays: dict[str, Any] = {}
    for kind in KINDS.values():
        bench = workbench(kind)
        tower = bench.model.base.tower
        examples = [bench.examples(client)[0] for client in range(COHORT)]
        sums = np.stack([example.inputs[0].numpy() for example in examples])
        arrays[f"{kind.name}_asked"] = np.einsum("cpkd,k->cpd", sums, tower.weights.numpy()).astype(np.float32)
        arrays[f"{kind.name}_taste"] = sums.sum(-2) / np.float32(len(tower.decays) ** 0.5)
        arrays[f"{kind.name}_targets"] = np.stack([example.targets for example in examples])
        arrays[f"{kind.name}_own"] = np.stack([example.own for example in examples])
        arrays["vectors"] = _items_of(bench.model)
    np.savez(file, **arrays)


def _items_of(model: AdaptedModel) -> Floats:
    return model.base.items.weight.detach().numpy()


EngineOf = Callable[[Workbench, RunFolder], Engine]


def reference(bench: Workbench, folder: RunFolder) -> Engine:
    """The readable loop."""
    return ReferenceEngine(bench, folder)


def cohort(device: str) -> EngineOf:
    """All clients at once, on a torch device."""
    return lambda bench, folder: CohortEngine(bench, folder, device=device)


def cohort_bf16(device: str) -> EngineOf:
    """The same with products of the catalogue in bf16."""
    return lambda bench, folder: CohortEngine(bench, folder, device=device, products=torch.bfloat16)


@contextmanager
def _in_this_thread(engine: Engine) -> Iterator[None]:
    """The cohort engine's blocks are computed here, where torch counts, and not by its workers."""
    if not isinstance(engine, CohortEngine):
        yield
        return
    workers, engine._workers = engine._workers, _Here()
    try:
        yield
    finally:
        engine._workers = workers


class _Here(Executor):
    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*given, **named))
        return done


class Rounds:
    """An engine at both kinds of work, one round at a time. files: what clients pay goes to the disk, as in a run."""

    def __init__(self, engine_of: EngineOf, *, files: bool = False) -> None:
        memory = None if files or not _IN_MEMORY.is_dir() else _IN_MEMORY
        self._scratch = tempfile.TemporaryDirectory(dir=memory)
        self._benches = {name: workbench(kind, files=files) for name, kind in KINDS.items()}
        self._engines = {
            name: engine_of(bench, RunFolder(Path(self._scratch.name) / name, "", resume=False))
            for name, bench in self._benches.items()
        }

    def turn(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One round. asked: kind, number; save: where its sum before the noise goes; count: whether to count FLOP."""
        if asked.get("count"):
            with FlopCounterMode(display=False) as counter, _in_this_thread(self._engines[asked["kind"]]):
                found = self._round(asked)
            return found | {"flop": counter.get_total_flops()}
        return self._round(asked)

    def _round(self, asked: dict[str, Any]) -> dict[str, Any]:
        bench, engine, number = self._benches[asked["kind"]], self._engines[asked["kind"]], asked["number"]
        instruction = Instruction(
            run="bench",
            round=number,
            token=f"{number}",
            adapter=adapter_of(number),
            layout=bench.model.layout.hash,
            plan=bench.plan,
            negatives_seed=number,
        )
        began, spent = time.perf_counter(), time.process_time()
        (block,) = blocks_of(bench.plan, "update", size=len(instruction.adapter))
        total = UpdateSum(block.size, blocks=[block])
        collected = ask(engine, instruction, range(COHORT), total=total, until=Until(timeout=600, enough=COHORT))
        noised_sum(total.value, noise_std=block.noise_std, source=system_source()) / COHORT
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        if collected.failures or total.count != COHORT:
            raise SystemExit(f"Replies were lost ({dict(collected.failures)}): this measures nothing.")
        if asked.get("save"):
            np.save(asked["save"], total.value)
        return {"seconds": seconds, "cpu": cpu}
