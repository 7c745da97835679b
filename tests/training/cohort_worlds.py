"""Small populations for the cohort engine, under every mode, beside the reference engine."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from fedrec.availability_config import AvailabilityConfig
from fedrec.config import AdapterConfig, DataConfig, ModelConfig, Scenario, TrainingConfig
from fedrec.data.dataset import Dataset
from fedrec.data.sequences import History, Sequences
from fedrec.data.splits import leave_one_out
from fedrec.federation_config import FederationConfig
from fedrec.model.build import adapt, build_recommender
from fedrec.privacy_config import (
    BudgetConfig,
    PopularityConfig,
    PrivacyConfig,
    ReleasedMetricsConfig,
    SecureAggregationConfig,
)
from fedrec.secagg.planned import plan_of
from fedrec.simulation.engines import participant
from fedrec.training.aggregation import UpdateSum
from fedrec.training.blocks import Task, blocks_of
from fedrec.training.client import Instruction, Replies
from fedrec.training.cohort import CohortEngine
from fedrec.training.collecting import Collected, Until, ask
from fedrec.training.foundation import budget_of
from fedrec.training.reference import ReferenceEngine
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Members, Workbench
from tests.small_worlds import ITEMS, WIDTH, a_random_history, an_index

TEXTS = 3


def a_population(draw: np.random.Generator, lengths: Sequence[int]) -> list[History]:
    """People with histories of these lengths, query texts among their entries."""
    return [a_random_history(draw, length, rows=ITEMS + TEXTS) for length in lengths]


def a_workbench(histories: Sequence[History], scenario: Scenario) -> Workbench:
    """These people as a scenario has them, on random vectors."""
    index = an_index()
    queries = np.random.default_rng(1).normal(size=(TEXTS, WIDTH)).astype(np.float32)
    popular = np.random.default_rng(2).random(ITEMS).astype(np.float32)
    texts = ([f"title {row}" for row in range(ITEMS)], [f"text {row}" for row in range(TEXTS)])
    base = build_recommender(scenario.model, index, texts=texts, query_vectors=queries, prior=popular)
    whole = History(
        **{
            name: np.concatenate([getattr(each, name) for each in histories])
            for name in ("rows", "times", "weights", "targets", "intents", "ratings")
        }
    )
    sequences = Sequences(
        user_ids=[f"u{number}" for number in range(len(histories))],
        offsets=np.concatenate([[0], np.cumsum([len(each) for each in histories])]),
        entries=whole,
        items=ITEMS,
        texts=texts[1],
    )
    return Workbench(
        scenario=scenario,
        dataset=cast(Dataset, None),
        index=index,
        model=adapt(base, scenario.model, scenario.adapter, index),
        plan=plan_of(scenario),
        budget=budget_of(scenario),
        split=leave_one_out(sequences),
        query_vectors=queries,
        members=Members(np.arange(len(histories)), scenario.data.users_per_client),
    )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Both engines on one population, each with a run folder of its own."""

    workbench: Workbench
    path: Path
    moved: float = 0.03

    def instruction(self, task: Task = "update", *, number: int = 1, token: str = "t", **more: Any) -> Instruction:  # noqa: S107
        draw = np.random.default_rng(7)
        size = self.workbench.model.layout.size
        return Instruction(
            run="run",
            round=number,
            token=token,
            adapter=(draw.normal(size=size) * self.moved).astype(np.float32),
            layout=self.workbench.model.layout.hash,
            plan=self.workbench.plan,
            negatives_seed=3,
            task=task,
            **more,
        )

    def reference(self) -> ReferenceEngine:
        folder = RunFolder(self.path / "reference", "", resume=True)
        return ReferenceEngine(self.workbench, folder, lambda number: participant(self.workbench, folder, number))

    @contextmanager
    def cohort(self, dtype: torch.dtype = torch.float32) -> Any:
        engine = CohortEngine(self.workbench, RunFolder(self.path / "cohort", "", resume=True), dtype=dtype)
        try:
            yield engine
        finally:
            engine.close()

    def summed(self, engine: Any, instruction: Instruction, cohort: Sequence[int]) -> Collected:
        """What a server would add up of a cohort."""
        plan, size = self.workbench.plan, self.workbench.model.layout.size
        if instruction.task == "popularity":
            size = self.workbench.model.base.catalogue_size
        blocks = blocks_of(plan, instruction.task, size=size) if plan and plan.mode == "central" else []
        total = UpdateSum(size, blocks=blocks)
        return ask(engine, instruction, cohort, total=total, until=Until(timeout=10, enough=len(cohort)))


class Here(Executor):
    """Work is done where it is asked for: what counts or computes for one thread alone is in that one."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*given, **named))
        return done


def updates_of(engine: Any, instruction: Instruction, cohort: Sequence[int]) -> dict[int, np.ndarray]:
    """Each client's own reply."""
    found: dict[int, np.ndarray] = {}
    for reply in engine.collect(instruction, cohort, timeout=10):
        if isinstance(reply, Replies):
            found |= dict(zip(reply.clients.tolist(), reply.updates, strict=True))
        elif reply.update is not None:
            found[reply.client] = reply.update
    return found


def a_scenario(mode: str = "none", **sections: Any) -> Scenario:
    """A small recipe of a mode; sections: settings by section, over the mode's own."""
    base: dict[str, Any] = {
        "model": {"window": 12, "decays": (0.0, 0.7), "decay_weights": (0.4, 0.6)},
        "adapter": {"ranks": {"history_proj": 5}},
        "training": {"positions": 6, "learning_rate": 0.5},
        "privacy": {"mode": mode, "noise": "seeded", "participations": 3, "clip_norm": 0.05},
        "federation": {"cohort": 6},
        "data": {},
        "evaluation": {},
    }
    own = {
        "local": {"privacy": {"expected_batch": 2.0}, "data": {"users_per_client": 3}},
        "segments": {"privacy": {"mode": "local", "unit": "SEGMENT", "segment_days": 20, "expected_batch": 2.0}},
        "distributed": {"secure_aggregation": {"drop_out": 0.3, "corruption": 0.0, "size": 4_000}},
        "released": {
            "privacy": {"mode": "central"},
            "model": {"prior": "released"},
            "popularity": {"items": 2},
            "released_metrics": {"noise_multiplier": 4.0},
        },
    }.get(mode, {})
    given = {name: base.get(name, {}) | own.get(name, {}) | sections.get(name, {}) for name in {*base, *own, *sections}}
    kinds = {
        "model": ModelConfig,
        "adapter": AdapterConfig,
        "training": TrainingConfig,
        "privacy": PrivacyConfig,
        "federation": FederationConfig,
        "data": DataConfig,
        "secure_aggregation": SecureAggregationConfig,
        "popularity": PopularityConfig,
        "released_metrics": ReleasedMetricsConfig,
        "budget": BudgetConfig,
        "availability": AvailabilityConfig,
    }
    return Scenario(name="small", seed=1, **{name: kinds[name](**given[name]) for name in given.keys() & kinds.keys()})
