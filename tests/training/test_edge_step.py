"""A device's update in numpy is the torch model's to 1e-5: every head, every module, every way of training."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import ModelConfig, TrainingConfig
from fedrec.data.sequences import History
from fedrec.errors import RefusedError, UnsafeUpdateError
from fedrec.training.contribution import clipped_update
from fedrec.training.edge_step import EdgeLearner, HistoryReader
from fedrec.training.examples import Example, Shape, examples_of
from fedrec.training.learner import LocalTask
from fedrec.training.local import TorchLearner
from tests.linear_worlds import linear_of
from tests.small_worlds import ALL_HEADS, ALL_RANKS, ITEMS, WIDTH, a_model, a_plan, a_random_history

CONFIG = ModelConfig(window=50)


def a_pair(seed: int, *, ranks: dict[str, int] | None = None, train_a: bool = False):
    """The same model twice, torch and numpy, and the adapter that a round sends."""
    draw = np.random.default_rng(seed)
    model = a_model(ranks or ALL_RANKS, train_a=train_a, prior=draw.normal(size=ITEMS).astype(np.float32))
    start = draw.normal(scale=0.3, size=model.layout.size).astype(np.float32)
    return model, TorchLearner(model), EdgeLearner(linear_of(model, CONFIG)), start


def both_examples(model, edge: EdgeLearner, histories: list[History]) -> tuple[list[Example], list[Example]]:
    """The same people as each side reads them."""
    shape = Shape(positions=5, window=50)
    reader = HistoryReader(edge.model, np.zeros((0, WIDTH), np.float32))
    return (
        examples_of(histories, model.base.tower, shape, items=ITEMS),
        examples_of(histories, reader, shape, items=ITEMS),
    )


def served_by(heads: dict[str, float]) -> dict[str, int]:
    """The modules that these heads train: a scenario with any other is refused."""
    serves = {"items": {"next_item"}, "intent_proj": {"intent"}, "rating_proj": {"rating"}}
    return {n: rank for n, rank in ALL_RANKS.items() if serves.get(n, {"next_item", "intent"}) & heads.keys()}


def people(seed: int, count: int = 1) -> list[History]:
    draw = np.random.default_rng(seed)
    return [a_random_history(draw, int(draw.integers(2, 14))) for _ in range(count)]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    heads=st.dictionaries(st.sampled_from(sorted(ALL_HEADS)), st.floats(0.1, 2.0), min_size=1),
    negatives=st.sampled_from([0, 7]),
    corrected=st.booleans(),
    steps=st.integers(1, 3),
    train_a=st.booleans(),
    count=st.integers(0, 3),
)
def test_the_update_is_that_of_the_torch_model(seed, heads, negatives, corrected, steps, train_a, count) -> None:
    ranks = {name: rank for name, rank in served_by(heads).items() if not (negatives and name == "items")}
    model, ours, edge, start = a_pair(seed, ranks=ranks, train_a=train_a)
    training = TrainingConfig(
        positions=5,
        heads=heads,
        negatives=negatives,
        logq_correction=corrected,
        steps=steps,
        learning_rate=0.3,
    )
    task = LocalTask(adapter=start, negatives_seed=seed)
    for_torch, for_edge = both_examples(model, edge, people(seed, count))
    assert relative(edge.update(for_edge, task, training), ours.update(for_torch, task, training)) < 1e-5 * steps


def test_queries_enter_as_they_do_in_torch() -> None:
    model, _, edge, _ = a_pair(3)
    queries = np.random.default_rng(9).normal(size=(4, WIDTH)).astype(np.float32)
    history = a_random_history(np.random.default_rng(1), 9, rows=ITEMS + 4)
    model.base.tower.vectors = np.concatenate([model.base.tower.vectors, queries])
    positions = np.arange(1, 10)
    (expected,) = model.base.tower.inputs(history, positions)
    (found,) = HistoryReader(edge.model, queries).inputs(history, positions)
    np.testing.assert_allclose(found, torch.as_tensor(expected).numpy(), rtol=1e-6, atol=1e-6)


def test_metrics_are_those_of_the_torch_model() -> None:
    model, ours, edge, start = a_pair(5)
    for_torch, for_edge = both_examples(model, edge, people(5, 3))
    assert edge.quality(for_edge, start) == pytest.approx(ours.quality(for_torch, start), rel=1e-5)


def test_the_whole_contribution_is_clipped_like_any_other() -> None:
    model, ours, edge, start = a_pair(6, ranks=served_by({"next_item": 1.0}))
    for_torch, for_edge = both_examples(model, edge, people(6))
    task, training = LocalTask(adapter=start, negatives_seed=1), TrainingConfig(positions=5, learning_rate=50.0)
    plan = replace(a_plan(), mode="central", local=None, clip_norm=0.5, metrics_noise=2.0)
    found = clipped_update(edge, for_edge, task, training, plan)
    assert np.linalg.norm(found[: len(start)]) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(found, clipped_update(ours, for_torch, task, training, plan), rtol=1e-4, atol=1e-6)


def test_an_index_in_many_blocks_gives_the_same_update(monkeypatch) -> None:
    model, _, edge, start = a_pair(7)
    _, examples = both_examples(model, edge, people(7))
    task, training = LocalTask(adapter=start, negatives_seed=1), TrainingConfig(positions=5)
    whole = edge.update(examples, task, training)
    monkeypatch.setattr("fedrec.training.edge_step._BLOCK", 7)
    assert relative(edge.update(examples, task, training), whole) < 1e-5


def test_small_steps_lower_the_loss() -> None:
    model, _, edge, start = a_pair(8)
    _, examples = both_examples(model, edge, people(8, 3))
    training, flat, losses = TrainingConfig(positions=5, learning_rate=0.05), start, []
    for _ in range(5):
        losses.append(edge.quality(examples, flat)[0])
        flat = flat + edge.update(examples, LocalTask(adapter=flat, negatives_seed=0), training)
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_local_mode_is_refused_and_says_what_it_needs() -> None:
    _, _, edge, start = a_pair(9)
    with pytest.raises(RefusedError, match="Opacus"):
        edge.update([], LocalTask(adapter=start, negatives_seed=0), TrainingConfig(), plan=a_plan())


def test_an_update_that_is_not_finite_is_not_sent() -> None:
    model, _, edge, start = a_pair(10)
    _, examples = both_examples(model, edge, people(10))
    with pytest.raises(UnsafeUpdateError), np.errstate(all="ignore"):
        edge.update(examples, LocalTask(adapter=start, negatives_seed=0), TrainingConfig(learning_rate=1e38, steps=3))


def test_a_prior_of_another_catalogue_is_refused() -> None:
    _, _, edge, _ = a_pair(11)
    with pytest.raises(UnsafeUpdateError):
        edge.set_prior(np.zeros(ITEMS + 1, np.float32))


def test_what_trains_on_a_device_does_not_import_torch() -> None:
    code = "import sys, fedrec.training.client, fedrec.training.edge_step; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
