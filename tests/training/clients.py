"""Clients of a small federation, each with a folder that stands for its device."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.config import TrainingConfig
from fedrec.model.adapter import AdaptedModel
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource, seeded_source
from fedrec.privacy.statement import composed_epsilon
from fedrec.training.client import Client, Instruction
from fedrec.training.client_records import FolderRecords
from fedrec.training.examples import Example, Shape, examples_of
from fedrec.training.local import TorchLearner
from tests.small_worlds import ITEMS, a_plan, a_random_history

TRAINING = TrainingConfig(positions=4)
PLAN = a_plan(sampling_rate=0.8)


def hub_examples(model: AdaptedModel, number: int) -> list[Example]:
    """What the client of this number trains on: three people of its own."""
    draw = np.random.default_rng(number)
    histories = [a_random_history(draw, 8) for _ in range(3)]
    return examples_of(histories, model.base.tower, Shape(positions=4, window=50), items=ITEMS)


def a_client(
    number: int,
    folder: Path,
    model: AdaptedModel,
    *,
    plan: PrivacyPlan | None = PLAN,
    examples: Callable[[], Sequence[Example]] | None = None,
    source_for: Callable[[int], RandomSource] | None = None,
    **more: Any,
) -> Client:
    """A client with seeded noise; `more` is its budget and its clock."""
    return Client(
        id=number,
        learner=TorchLearner(model),
        training=TRAINING,
        examples=examples or (lambda: hub_examples(model, number)),
        plan=plan,
        source_for=source_for or (lambda round_number: seeded_source(0, "client", number, "round", round_number)),
        records=FolderRecords(folder),
        epsilon_of=composed_epsilon,
        **more,
    )


def an_instruction(model: AdaptedModel, **changes: Any) -> Instruction:
    """What a server would ask of it in round 1."""
    given: dict[str, Any] = {
        "run": "run",
        "round": 1,
        "token": "token-1",
        "adapter": np.zeros(model.layout.size, np.float32),
        "layout": model.layout.hash,
        "plan": PLAN,
        "negatives_seed": 0,
    }
    return Instruction(**{**given, **changes})
