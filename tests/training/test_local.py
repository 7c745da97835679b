from dataclasses import replace

import numpy as np
import pytest
import torch

from fedrec.config import TrainingConfig
from fedrec.errors import UnsafeUpdateError
from fedrec.training.learner import LocalTask
from fedrec.training.local import local_update
from tests.small_worlds import ALL_HEADS, ALL_RANKS, Silent, a_laboratory, a_model, a_plan


def task(model, *, at=0.0, seed=0):
    place = np.random.default_rng(9).normal(size=model.layout.size) * at
    return LocalTask(adapter=place.astype(np.float32), negatives_seed=seed)


@pytest.mark.parametrize(("steps", "rate"), [(1, 1.0), (3, 0.2)])
def test_without_privacy_it_is_plain_gradient_descent_on_the_mean_loss(steps, rate):
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS)
    training = TrainingConfig(positions=5, heads=ALL_HEADS, steps=steps, learning_rate=rate)
    start = task(lab.model, at=0.2)
    update = local_update(lab.model, lab.examples, start, training)

    weights = start.adapter.copy()
    for _ in range(steps):
        lab.model.load(weights)
        lab.model.peft.zero_grad()
        lab.losses(lab.examples).mean().backward()
        weights = weights - rate * np.concatenate([p.grad.numpy().ravel() for p in lab.model.parameters()])
    assert update == pytest.approx(weights - start.adapter, abs=2e-6)
    assert np.abs(update).max() > 1e-3


def test_a_client_without_examples_replies_with_zeros():
    model = a_model()
    update = local_update(model, [], task(model, at=0.5), TrainingConfig())
    assert not update.any()
    assert update.shape == (model.layout.size,)


def test_an_update_starts_from_the_servers_adapter_and_not_from_the_last_one():
    lab = a_laboratory()
    first = local_update(lab.model, lab.examples, task(lab.model), lab.training)
    local_update(lab.model, lab.examples, task(lab.model, at=3.0), lab.training)
    assert np.array_equal(local_update(lab.model, lab.examples, task(lab.model), lab.training), first)


def test_training_lowers_the_loss():
    lab = a_laboratory(moved=0.0)
    before = float(lab.losses(lab.examples).mean().detach())
    local_update(lab.model, lab.examples, task(lab.model), TrainingConfig(positions=5, steps=20, learning_rate=0.3))
    assert float(lab.losses(lab.examples).mean().detach()) < 0.9 * before


def test_negatives_are_the_rounds_and_the_same_for_everybody():
    training = TrainingConfig(positions=5, negatives=8)
    labs = [a_laboratory(negatives=8, seed=0) for _ in range(2)]
    updates = [local_update(lab.model, lab.examples, task(lab.model, seed=3), training) for lab in labs]
    other = local_update(labs[0].model, labs[0].examples, task(labs[0].model, seed=4), training)
    assert np.array_equal(*updates)
    assert not np.allclose(other, updates[0])


def test_negatives_beyond_the_catalogue_are_the_whole_catalogue():
    lab = a_laboratory(moved=0.0)
    full = local_update(lab.model, lab.examples, task(lab.model), TrainingConfig(positions=5))
    training = TrainingConfig(positions=5, negatives=10**6, logq_correction=True)
    every = local_update(lab.model, lab.examples, task(lab.model), training)
    assert every == pytest.approx(full, abs=1e-6)


@pytest.mark.parametrize("adapter", [np.zeros(3, np.float32), None])
def test_a_servers_adapter_that_does_not_fit_is_refused(adapter):
    model = a_model()
    given = np.full(model.layout.size, np.nan, np.float32) if adapter is None else adapter
    with pytest.raises(UnsafeUpdateError, match="does not fit"):
        local_update(model, [], LocalTask(adapter=given, negatives_seed=0), TrainingConfig())


def test_a_plain_step_that_leaves_the_numbers_is_refused():
    lab = a_laboratory({"rating_proj": 4}, heads={"rating": 1.0})
    training = TrainingConfig(positions=5, heads={"rating": 1.0}, steps=60, learning_rate=1e4)
    with pytest.raises(UnsafeUpdateError, match="not finite"):
        local_update(lab.model, lab.examples, task(lab.model, at=1.0), training)


def test_the_frozen_model_stays_frozen():
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS)
    held = {name: p.clone() for name, p in lab.model.peft.named_parameters() if not p.requires_grad}
    local_update(lab.model, lab.examples, task(lab.model), lab.training)
    after = dict(lab.model.peft.named_parameters())
    assert held
    assert all(torch.equal(after[name], value) for name, value in held.items())


@pytest.mark.parametrize("steps", [1, 3])
def test_a_private_update_with_a_faulty_person_is_the_update_without_that_person(steps):
    lab = a_laboratory(people=5)
    training = TrainingConfig(positions=5, steps=steps)
    faulty = [*lab.examples[:-1], replace(lab.examples[-1], targets=lab.examples[-1].targets + 10**6)]
    plan = a_plan(steps=steps)

    def update(examples):
        return local_update(lab.model, examples, task(lab.model), training, plan=plan, source=Silent())

    assert update(faulty) == pytest.approx(update(lab.examples[:-1]), abs=1e-6)
    assert not np.allclose(update(faulty), update(lab.examples), atol=1e-4)
