"""A central federation of toy clients: each replies with a vector that the test chooses."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.federation_config import FederationConfig
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Instruction, Reply
from fedrec.training.recipe import Recipe
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from tests.small_worlds import a_central_plan

SIZE = 6
CATALOGUE = 8
PLAN = a_central_plan(clip_norm=0.5, noise_multiplier=2.0, cap=40)


class PowerCutError(BaseException):
    """The server went off; no part of the product knows this."""


class Crowd:
    """Clients that reply with the vector of `reply_of`; an update at the clip norm unless given."""

    def __init__(self, clients: int = 4, reply_of: Callable[[int, Instruction], np.ndarray] | None = None) -> None:
        self.population = range(clients)
        self.reply_of = reply_of or usual_reply
        self.asked: list[tuple[Instruction, list[int]]] = []

    def clients(self, number: int) -> Sequence[int]:  # noqa: ARG002
        return self.population

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:  # noqa: ARG002
        self.asked.append((instruction, list(cohort)))
        for client in cohort:
            yield Reply(client=client, update=self.reply_of(client, instruction), attempts=1)


def usual_reply(client: int, instruction: Instruction) -> np.ndarray:
    """A vector on the first axis, as long as the plan allows, and what else the plan asks for."""
    if instruction.task == "popularity":
        return np.eye(CATALOGUE, dtype=np.float32)[client % CATALOGUE]
    extra = 4 if instruction.plan and instruction.plan.metrics_noise else 0
    vector = np.zeros(SIZE + extra, dtype=np.float32)
    vector[0] = 0.5
    vector[SIZE:] = 0.5
    return vector


def a_recipe(
    plan: PrivacyPlan = PLAN, *, noise: str = "system", budget: Budget | None = None, **federation: Any
) -> Recipe:
    config = {"rounds": 1, "cohort": 4, "server_optimizer": "fedavg", "server_rate": 1.0, "release_every": 10}
    return Recipe(
        federation=FederationConfig(**{**config, **federation}),
        plan=plan,
        layout="layout",
        run_id="run",
        seed=1,
        noise=noise,  # type: ignore[arg-type]
        catalogue=CATALOGUE,
        budget=budget,
    )


def some_hooks(**changes: Any) -> Hooks:
    quiet: Mapping[str, Any] = {name: lambda *_: None for name in ("measure", "publish", "report", "prior")}
    return Hooks(**{**quiet, **changes})


def run(path: Path, engine: Crowd, recipe: Recipe, hooks: Hooks | None = None) -> tuple[ServerState, RunFolder]:
    """Run, or go on with, a recipe in a folder."""
    folder = RunFolder(path / "run", "", resume=True)
    start = ServerState.start(np.zeros(SIZE, np.float32))
    return run_rounds(folder, engine, recipe, start, hooks or some_hooks()), folder


def cut_at_write(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The power goes when a file of that name is about to be replaced."""
    replace_file = os.replace

    def replacing(source: Any, target: Any, **more: Any) -> None:
        if os.fspath(target).endswith(name):
            raise PowerCutError
        replace_file(source, target, **more)

    monkeypatch.setattr(os, "replace", replacing)
