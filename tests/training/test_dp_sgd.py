"""The heart: is what leaves a client a clipped sum over units plus noise, and nothing else?

Per-example gradients are held against one-example loops and against torch.func's vmap;
sensitivity is held against neighbouring data, with losses that couple people as controls.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule
from scipy import stats
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from fedrec.audit.neighbours import QuietSource
from fedrec.config import TrainingConfig
from fedrec.errors import UnsafeUpdateError
from fedrec.model.text_encoder import default_encoder_path
from fedrec.privacy.randomness import seeded_source, system_source
from fedrec.training.batches import collate
from fedrec.training.dp_sgd import (
    SourceNoiseOptimizer,
    fill_example_gradients,
    fill_sound_gradients,
    per_example_gradients,
    private_steps,
)
from fedrec.training.examples import Shape, examples_of
from fedrec.training.learner import LocalTask
from fedrec.training.local import local_update
from tests.small_worlds import (
    ALL_HEADS,
    ALL_RANKS,
    DAY,
    ITEMS,
    TITLES,
    Laboratory,
    Silent,
    a_history,
    a_laboratory,
    a_model,
    a_plan,
    a_random_history,
    a_text_model,
    same,
    save_tiny_bert,
    without,
)

INTENT = {"next_item": 1.0, "intent": 0.5}
RATING = {"next_item": 1.0, "rating": 0.5}
WORLDS = {
    "history_proj": {"ranks": {"history_proj": 6}},
    "item_proj": {"ranks": {"item_proj": 4}},
    "items": {"ranks": {"items": 3}},
    "all three": {"ranks": {"history_proj": 6, "item_proj": 4, "items": 3}},
    "sampled softmax": {"ranks": {"history_proj": 6, "item_proj": 4}, "negatives": 9},
    "intent head": {"ranks": {"history_proj": 6, "intent_proj": 5}, "heads": INTENT},
    "rating head": {"ranks": {"history_proj": 6, "rating_proj": 2}, "heads": RATING},
    "every head": {"ranks": ALL_RANKS, "heads": ALL_HEADS},
    "one example": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "people": 1},
    "one position": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "positions": 1},
    # Where a batch is as long as the catalogue, a hook could take items for examples.
    "as many examples as items": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "people": 9, "items": 9},
    "as many positions as items": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "items": 9, "positions": 9},
    "as many examples as positions": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "people": 5, "positions": 5},
    "as many examples as coordinates": {"ranks": ALL_RANKS, "heads": ALL_HEADS, "people": 12},
}


def hooked(lab, batch=None):
    """(B, P) the gradients that the product clips."""
    batch = lab.examples if batch is None else batch
    with per_example_gradients(lab.model.peft):
        parameters = lab.model.parameters()
        fill_example_gradients(parameters, batch, lab.losses, positions_per_example=lab.rows_per_example)
        return torch.cat([p.grad_sample.reshape(len(batch), -1) for p in parameters], dim=1).clone()


def looped(lab):
    """(B, P) by plain autograd, one example at a time."""
    rows = []
    for example in lab.examples:
        gradients = torch.autograd.grad(lab.losses([example]).sum(), lab.model.parameters())
        rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    return torch.stack(rows)


class OneExample(nn.Module):
    """The loss of one example, written out again without the product's heads."""

    def __init__(self, lab):
        super().__init__()
        self.base = lab.model.base
        self.heads = lab.training.heads
        self.rows = torch.arange(self.base.catalogue_size) if lab.negatives is None else lab.negatives

    def forward(self, sums, targets, aims, intents, ratings, usual, mine):
        state = self.base.state(sums)
        loss = self._next_item(state, targets, aims, mine)
        known = (~intents.isnan()).float()
        item = self.base.items.weight[targets]
        if "intent" in self.heads:
            log_odds = ((self.base.intent_proj(state.taste) + state.query) * item).sum(-1)
            each = -(intents.nan_to_num() * functional.logsigmoid(log_odds))
            each = each - (1 - intents.nan_to_num()) * functional.logsigmoid(-log_odds)
            loss = loss + self.heads["intent"] * (each * known).sum() / known.sum().clamp(min=1)
        if "rating" in self.heads:
            rated = (~ratings.isnan()).float()
            predicted = usual + (self.base.rating_proj(state.taste) * item).sum(-1)
            each = (predicted - ratings.nan_to_num()) ** 2
            loss = loss + self.heads["rating"] * (each * rated).sum() / rated.sum().clamp(min=1)
        return loss

    def _next_item(self, state, targets, aims, mine):
        logits = self.base.logits(state.query)
        target = logits.gather(-1, targets[:, None])[:, 0]
        others = torch.where(mine, float("-inf"), logits)[:, self.rows]
        log_chance = target - torch.cat([target[:, None], others], dim=1).logsumexp(-1)
        return -(log_chance * aims).sum() / aims.sum().clamp(min=1)


def vmapped(lab):
    """(B, P) by torch.func: a transformation of the model, without any hook."""
    batch = collate(lab.examples, positions=lab.training.positions)
    mine = torch.zeros(len(batch), lab.model.base.catalogue_size, dtype=torch.bool)
    for row, example in zip(mine, lab.examples, strict=True):
        row[torch.from_numpy(example.own)] = True
    one = OneExample(lab)
    trained = {name: value for name, value in one.named_parameters() if value.requires_grad}
    frozen = {name: value for name, value in one.named_parameters() if not value.requires_grad}

    def loss_of(parameters, *columns):
        return functional_call(one, {**parameters, **frozen}, columns)

    columns = (*batch.inputs, batch.targets, batch.aims, batch.intents, batch.ratings, batch.usual, mine)
    gradients = vmap(grad(loss_of), in_dims=(None, *([0] * len(columns))))(trained, *columns)
    assert [value.shape for value in trained.values()] == list(map(torch.Size, lab.model.layout.shapes))
    return torch.cat([gradient.reshape(len(batch), -1) for gradient in gradients.values()], dim=1)


def close(found, expected):
    return float((found - expected).norm().detach()) <= 1e-5 * float(expected.norm().detach()) + 1e-7


@pytest.mark.parametrize("world", WORLDS)
def test_gradients_of_examples_equal_those_of_a_loop_over_examples(world):
    lab = a_laboratory(**WORLDS[world])
    expected = looped(lab)
    assert expected.norm(dim=1).min() > 0
    assert close(hooked(lab), expected)


@pytest.mark.parametrize("world", WORLDS)
def test_gradients_of_examples_equal_those_of_vmap(world):
    lab = a_laboratory(**WORLDS[world])
    assert close(hooked(lab), vmapped(lab))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(1, 12), items=st.integers(9, 16), positions=st.integers(1, 12))
def test_gradients_of_examples_are_right_for_any_shape(seed, people, items, positions):
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, seed=seed, people=people, items=items, positions=positions)
    assert close(hooked(lab), looped(lab))


def test_a_zero_adapter_has_right_gradients_too():
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, moved=0.0)
    assert close(hooked(lab), vmapped(lab))


# The text tower: `transformers` reads the mask's values in Python, which vmap cannot follow,
# so its oracle is the loop over examples alone.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def a_text_laboratory(folder, ranks=None, *, heads=None, positions=3, people=4):
    model = a_text_model(folder, ranks)
    model.load(np.random.default_rng(1).normal(size=model.layout.size) * 0.2)
    draw = np.random.default_rng(2)
    histories = [a_random_history(draw, 3 + person, rows=len(TITLES)) for person in range(people)]
    training = TrainingConfig(positions=positions, heads=heads or {"next_item": 1.0})
    return Laboratory(model, histories, training=training)


@pytest.mark.parametrize("positions", [1, 3, 6])
def test_gradients_of_a_language_model_equal_those_of_a_loop(tiny, positions):
    lab = a_text_laboratory(tiny, positions=positions)
    expected = looped(lab)
    assert expected.norm(dim=1).min() > 0
    assert close(hooked(lab), expected)


def test_modules_inside_and_behind_the_language_model_can_be_trained_together(tiny):
    ranks = {"query": 4, "value": 4, "item_proj": 5, "items": 3, "intent_proj": 4}
    lab = a_text_laboratory(tiny, ranks, heads=INTENT)
    assert close(hooked(lab), looped(lab))


def test_as_many_positions_as_items_do_not_confuse_the_language_model(tiny):
    ranks = {"query": 4, "item_proj": 5, "items": 3}
    lab = a_text_laboratory(tiny, ranks, positions=len(TITLES), people=3)
    assert close(hooked(lab), looped(lab))


def test_gradients_of_the_packaged_language_model_equal_those_of_a_loop():
    model = a_text_model(default_encoder_path(), {"query": 8, "value": 8}, width=384)
    model.load(np.random.default_rng(1).normal(size=model.layout.size) * 0.02)
    draw = np.random.default_rng(2)
    histories = [a_random_history(draw, 3 + person, rows=len(TITLES)) for person in range(3)]
    lab = Laboratory(model, histories, training=TrainingConfig(positions=3))
    assert model.layout.size == 6 * 2 * 384 * 8
    assert close(hooked(lab), looped(lab))
    for unit in range(3):
        assert moves(lab, unit, a_plan(clip_norm=0.01)) <= 0.01 * (1 + 1e-5)


def clipped_sum(lab, batch, plan, loss_of=None):
    """The noise-free sum that the product's optimizer would release."""
    parameters = lab.model.parameters()
    optimizer = SourceNoiseOptimizer(torch.optim.SGD(parameters, lr=0.0), plan=plan, source=Silent())
    with per_example_gradients(lab.model.peft):
        fill_example_gradients(parameters, batch, loss_of or lab.losses, positions_per_example=lab.rows_per_example)
        optimizer.step()
        return torch.cat([parameter.grad.reshape(-1) for parameter in parameters]).double()


def moves(lab, unit, plan, loss_of=None):
    """How far zeroing out one unit moves the clipped sum, in L2."""
    left = [example for row, example in enumerate(lab.examples) if row != unit]
    whole = clipped_sum(lab, lab.examples, plan, loss_of)
    return float((whole - clipped_sum(lab, left, plan, loss_of)).norm())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    people=st.integers(1, 8),
    unit=st.integers(0, 7),
    clip_norm=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    world=st.sampled_from(["all three", "sampled softmax", "every head"]),
)
def test_one_unit_moves_the_clipped_sum_by_at_most_the_clip_norm(seed, people, unit, clip_norm, world):
    lab = a_laboratory(**{**WORLDS[world], "people": people}, seed=seed, moved=1.0)
    plan = a_plan(clip_norm=clip_norm)
    assert moves(lab, unit % len(lab.examples), plan) <= clip_norm * (1 + 1e-5)


def test_what_one_unit_moves_is_its_own_clipped_gradient():
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, people=5)
    plan = a_plan(clip_norm=0.4)
    own = looped(lab)
    for unit in range(5):
        assert moves(lab, unit, plan) == pytest.approx(min(0.4, float(own[unit].norm())), rel=1e-4)


def test_one_unit_of_the_language_model_moves_the_sum_by_at_most_the_clip_norm(tiny):
    lab = a_text_laboratory(tiny)
    for unit in range(len(lab.examples)):
        assert moves(lab, unit, a_plan(clip_norm=0.01)) <= 0.01 * (1 + 1e-5)


@pytest.mark.parametrize("clip_norm", [0.01, 0.3, 5.0])
def test_a_batch_of_one_is_clipped_to_the_bound_and_never_scaled_up(clip_norm):
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, people=3, moved=1.0)
    for example, gradient in zip(lab.examples, looped(lab), strict=True):
        found = float(clipped_sum(lab, [example], a_plan(clip_norm=clip_norm)).norm())
        assert found <= clip_norm * (1 + 1e-6)
        assert found == pytest.approx(min(clip_norm, float(gradient.norm())), rel=1e-4)


def test_an_outrageous_example_counts_no_more_than_any_other():
    lab = a_laboratory({"history_proj": 6}, people=4)
    (sums,) = lab.examples[2].inputs
    lab.examples[2] = replace(lab.examples[2], inputs=(sums * 1e4,))
    assert looped(lab)[2].norm() > 100
    assert moves(lab, 2, a_plan(clip_norm=0.2)) <= 0.2 * (1 + 1e-5)


# Controls: losses that couple people must be caught by the neighbouring data above.


def alike(*others):
    """Fifteen people who want the same thing, behind the given ones."""
    histories = [*others, *(a_history([1, 2]) for _ in range(15))]
    return Laboratory(a_model({"history_proj": 6}), histories, training=TrainingConfig(positions=60))


def test_a_mean_over_the_positions_of_the_whole_batch_is_caught():
    lab = alike(a_history(np.random.default_rng(0).permutation(ITEMS)))

    def coupled(batch):
        counts = torch.tensor([float(example.aims.sum()) for example in batch])
        return lab.losses(batch) * counts / counts.sum()

    clip_norm = float(looped(lab)[1].norm()) / 15
    plan = a_plan(clip_norm=clip_norm)
    assert moves(lab, 0, plan) <= clip_norm * (1 + 1e-5)
    assert moves(lab, 0, plan, coupled) > 10 * clip_norm


def test_negatives_out_of_the_batch_are_caught():
    lab = alike(a_history([1, 3]))

    def coupled(batch):
        stacked = collate(batch, positions=lab.training.positions)
        logits = lab.model.base(*stacked.inputs)
        target = logits.gather(-1, stacked.targets.unsqueeze(-1)).squeeze(-1)
        others = logits[..., stacked.targets[stacked.aims > 0]]
        return ((others.logsumexp(-1) - target) * stacked.aims).sum(-1)

    plan = a_plan(clip_norm=0.01)
    assert moves(lab, 0, plan) <= 0.01 * (1 + 1e-5)
    assert moves(lab, 0, plan, coupled) > 10 * 0.01


# One person's data make training raise: that person's gradient is lost, and nobody else's.


def ruined(example, how):
    """The example with data that no loss can be taken of; each fails at another depth of the pass."""
    (sums,) = example.inputs
    changes = {
        "a target outside the catalogue": {"targets": example.targets + 10**6},
        "inputs of another width": {"inputs": (sums[..., :-1],)},
        "inputs too large for any memory": {"inputs": (sums[:1, None].expand(-1, 2**48, -1, -1),)},
        "more positions than allowed": {"targets": np.zeros(10_000, np.int64)},
        "an item outside the catalogue": {"own": np.array([10**6])},
    }
    return replace(example, **changes[how])


RUINS = [
    "a target outside the catalogue",
    "inputs of another width",
    "inputs too large for any memory",
    "more positions than allowed",
    "an item outside the catalogue",
]


def sound_sum(lab, batch, plan, loss_of=None):
    """The noise-free sum that a private step would release."""
    parameters = lab.model.parameters()
    optimizer = SourceNoiseOptimizer(torch.optim.SGD(parameters, lr=0.0), plan=plan, source=Silent())
    with per_example_gradients(lab.model.peft):
        fill_sound_gradients(
            lab.model.peft, parameters, batch, loss_of or lab.losses, positions_per_example=lab.rows_per_example
        )
        optimizer.step()
        return torch.cat([parameter.grad.reshape(-1) for parameter in parameters]).double()


@pytest.mark.parametrize("how", RUINS)
@pytest.mark.parametrize("clip_norm", [0.05, 0.5, 30.0])
def test_a_person_whose_example_raises_moves_the_sum_by_nothing_and_the_others_stay(how, clip_norm):
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, people=6)
    plan = a_plan(clip_norm=clip_norm)
    sound = [example for number, example in enumerate(lab.examples) if number != 2]
    faulty = [*sound[:2], ruined(lab.examples[2], how), *sound[2:]]
    with pytest.raises((RuntimeError, MemoryError)), per_example_gradients(lab.model.peft):
        fill_example_gradients(lab.model.parameters(), faulty, lab.losses)
    without_them = sound_sum(lab, sound, plan)
    assert without_them.norm() > 0
    assert close(sound_sum(lab, faulty, plan), without_them)
    assert float((sound_sum(lab, faulty, plan) - sound_sum(lab, lab.examples, plan)).norm()) <= clip_norm * (1 + 1e-5)


def test_a_person_whose_text_raises_is_lost_alone(tiny):
    lab = a_text_laboratory(tiny, {"query": 4, "item_proj": 5})
    plan = a_plan(clip_norm=0.1)
    faulty = [replace(lab.examples[0], targets=lab.examples[0].targets + 10**6), *lab.examples[1:]]
    assert close(sound_sum(lab, faulty, plan), sound_sum(lab, lab.examples[1:], plan))


@pytest.mark.parametrize("fault", [MemoryError, RuntimeError, ValueError])
def test_memory_that_one_person_exhausts_is_that_persons_loss(fault):
    lab = a_laboratory(people=6)
    plan = a_plan(clip_norm=0.05)

    def exhausted(batch):
        losses = lab.losses(batch)
        if any(example is lab.examples[4] for example in batch):
            raise fault
        return losses

    rest = [*lab.examples[:4], *lab.examples[5:]]
    assert close(sound_sum(lab, lab.examples, plan, exhausted), sound_sum(lab, rest, plan))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(1, 6), unit=st.integers(0, 5), how=st.sampled_from(RUINS))
def test_private_steps_move_by_at_most_the_clip_norm_when_one_person_raises(seed, people, unit, how):
    lab = a_laboratory({"history_proj": 6}, people=people, seed=seed)
    unit %= len(lab.examples)
    plan = a_plan(clip_norm=0.05, expected_batch=1.0)
    training = TrainingConfig(positions=5, learning_rate=1.0)

    def update(examples):
        return update_of(examples, plan, QuietSource(), model=lab.model, training=training).astype(np.float64)

    left = [example for number, example in enumerate(lab.examples) if number != unit]
    faulty = [*lab.examples[:unit], ruined(lab.examples[unit], how), *lab.examples[unit + 1 :]]
    assert np.linalg.norm(update(faulty) - update(left)) <= 0.05 * (1 + 1e-4)


def test_a_person_who_raises_in_one_step_leaves_every_step_its_noise():
    lab = a_laboratory(people=1)
    plan = a_plan(steps=3)
    alone = [ruined(lab.examples[0], "a target outside the catalogue")]
    found = update_of(alone, plan, seeded_source(4), training=TrainingConfig(steps=3))
    noise = update_of([], plan, Skipping(seeded_source(4), 1), training=TrainingConfig(steps=3))
    assert np.array_equal(found, noise)


@pytest.mark.parametrize("how", RUINS)
def test_a_fault_leaves_nothing_behind_for_later_rounds(how):
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS, people=5)

    def update(examples):
        return update_of(examples, a_plan(), seeded_source(7), model=lab.model, training=lab.training)

    before = update(lab.examples)
    update([*lab.examples[:3], ruined(lab.examples[3], how)])
    assert np.array_equal(update(lab.examples), before)


def test_sound_examples_have_the_gradients_that_they_always_had():
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS)
    plan = a_plan(clip_norm=0.3)
    assert torch.equal(sound_sum(lab, lab.examples, plan), clipped_sum(lab, lab.examples, plan))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_is_obeyed(stop):
    lab = a_laboratory(people=2)

    def stopped(batch):  # noqa: ARG001
        raise stop

    with pytest.raises(stop):
        sound_sum(lab, lab.examples, a_plan(), stopped)


# From the events themselves: what is one unit, and does anybody else notice that it is gone?


def hub(seed, people=5):
    draw = np.random.default_rng(seed)
    return [a_random_history(draw, int(draw.integers(2, 14))) for _ in range(people)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), person=st.integers(0, 4))
def test_user_units_one_person_of_a_hub_is_one_unit(seed, person):
    histories = hub(seed)
    gone = [without(each, np.full(len(each), number == person)) for number, each in enumerate(histories)]
    training = TrainingConfig(positions=6, heads=ALL_HEADS)
    shape = Shape(positions=6, window=5)
    before, after = (
        Laboratory(a_model(ALL_RANKS, moved=0.5), each, training=training, shape=shape) for each in (histories, gone)
    )
    tower = before.model.base.tower
    own = examples_of([histories[person]], tower, shape, items=ITEMS)
    assert len(before.examples) - len(after.examples) == len(own) <= 1
    kept = [example for example in before.examples if not any(same(example, each) for each in own)]
    assert all(map(same, kept, after.examples))
    plan = a_plan(clip_norm=0.1)
    moved = clipped_sum(before, before.examples, plan) - clipped_sum(after, after.examples, plan)
    assert float(moved.norm()) <= 0.1 * (1 + 1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), chosen=st.integers(0, 11), days=st.sampled_from([7, 30]))
def test_segment_units_one_interval_of_a_person_is_one_unit(seed, chosen, days):
    (history,) = hub(seed, people=1)
    interval = history.times // (days * DAY)
    gone = without(history, interval == interval[chosen % len(history)])
    training = TrainingConfig(positions=6, heads=ALL_HEADS)
    shape = Shape(positions=6, window=5, unit="SEGMENT", segment_days=days)
    before, after = (
        Laboratory(a_model(ALL_RANKS, moved=0.5), [each], training=training, shape=shape) for each in (history, gone)
    )
    lost = [example for example in before.examples if not any(same(example, each) for each in after.examples)]
    assert len(lost) == len(before.examples) - len(after.examples) <= 1
    plan = a_plan(clip_norm=0.1)
    moved = clipped_sum(before, before.examples, plan) - clipped_sum(after, after.examples, plan)
    assert float(moved.norm()) <= 0.1 * (1 + 1e-5)


# Noise.


def a_wide_model():
    return a_model({"items": 60}, items=400, width=60)


def update_of(examples, plan, source, *, model=None, training=None):
    model = model or a_model({"history_proj": 6})
    task = LocalTask(adapter=np.zeros(model.layout.size, np.float32), negatives_seed=0)
    return local_update(model, examples, task, training or TrainingConfig(), plan=plan, source=source)


@pytest.mark.parametrize(("clip_norm", "noise_multiplier", "steps"), [(0.5, 2.0, 1), (3.0, 0.7, 4)])
def test_a_client_without_examples_replies_with_noise_of_the_right_size(clip_norm, noise_multiplier, steps):
    plan = a_plan(clip_norm=clip_norm, noise_multiplier=noise_multiplier, steps=steps, expected_batch=8.0)
    training = TrainingConfig(learning_rate=0.3, steps=steps)
    update = update_of([], plan, seeded_source(1, steps), model=a_wide_model(), training=training)
    expected = 0.3 / 8.0 * noise_multiplier * clip_norm * steps**0.5
    assert len(update) == 24_000
    assert update.std() == pytest.approx(expected, rel=0.02)
    assert stats.kstest(update, "norm", args=(0, expected)).pvalue > 0.01


def test_the_noise_comes_on_top_of_the_clipped_sum():
    lab = a_laboratory({"items": 12}, people=4, items=400, moved=0.0)
    plan = a_plan(clip_norm=5.0, noise_multiplier=0.01, expected_batch=2.0)
    task = LocalTask(adapter=np.zeros(lab.model.layout.size, np.float32), negatives_seed=0)
    whole = clipped_sum(lab, lab.examples, plan)
    update = local_update(lab.model, lab.examples, task, lab.training, plan=plan, source=seeded_source(3))
    noise = -update * 2.0 - whole.numpy()
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    assert stats.kstest(noise, "norm", args=(0, 0.05)).pvalue > 0.01


def test_every_coordinate_and_every_step_has_noise_of_its_own():
    plan = a_plan()
    update = update_of([], plan, system_source(), model=a_wide_model())
    assert len(np.unique(update)) > 0.99 * len(update)
    both = update_of([], a_plan(steps=2), seeded_source(1)), update_of([], plan, seeded_source(1))
    assert not np.allclose(both[0], 2 * both[1])


def test_a_step_whose_coins_all_fall_short_is_noise_and_no_crash():
    lab = a_laboratory(people=2)
    plan = a_plan(sampling_rate=1e-12)
    assert np.array_equal(
        update_of(lab.examples, plan, seeded_source(4)), update_of([], plan, Skipping(seeded_source(4), 2))
    )


class Skipping:
    """A source that throws the coins of people who are not there, to stay in step with one whose are."""

    def __init__(self, source, people):
        self.source, self.people = source, people
        self.gaussian = source.gaussian

    def coins(self, size, *, probability):
        return self.source.coins(size or self.people, probability=probability)[:size]


def test_batches_are_poisson():
    lab = a_laboratory({"history_proj": 2}, people=30, positions=2)
    sizes = []

    def watched(batch):
        sizes.append(len(batch))
        return lab.losses(batch)

    plan = a_plan(sampling_rate=0.1, steps=300)
    private_steps(
        lab.model.peft,
        lab.model.parameters(),
        lab.examples,
        watched,
        plan=plan,
        learning_rate=1e-6,
        source=seeded_source(5),
    )
    drawn = np.array(sizes + [0] * (300 - len(sizes)))
    # Four standard errors; an empty batch is drawn with probability .9 ** 30 = .042.
    assert drawn.mean() == pytest.approx(3.0, abs=4 * np.sqrt(2.7 / 300))
    assert drawn.var() == pytest.approx(2.7, rel=0.35)
    assert 0 < (drawn == 0).sum() < 30


def test_the_same_seed_gives_the_same_update_and_another_client_or_round_another():
    lab = a_laboratory(people=4)
    plan = a_plan(sampling_rate=0.5, steps=3)

    def update(*labels):
        return update_of(lab.examples, plan, seeded_source(0, *labels), training=TrainingConfig(steps=3))

    one = update("client", 1, "round", 1)
    assert np.array_equal(one, update("client", 1, "round", 1))
    for other in (update("client", 2, "round", 1), update("client", 1, "round", 2)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.5
        assert not (one == other).any()


def test_two_clients_with_secret_noise_never_draw_the_same():
    one, other = (update_of([], a_plan(), system_source()) for _ in range(2))
    assert not (one == other).any()


# What is left behind.


def test_hooks_are_gone_after_training_and_running_twice_does_not_double():
    # Opacus issue 688: every wrap adds its hooks to those that are there.
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS)
    first = hooked(lab)
    for _ in range(3):
        update_of(lab.examples, a_plan(), Silent(), model=lab.model, training=lab.training)
    lab.model.load(np.random.default_rng(5).normal(size=lab.model.layout.size) * 0.3)
    assert torch.equal(hooked(lab), first)
    for module in lab.model.peft.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not hasattr(module, "autograd_grad_sample_hooks")
    for parameter in lab.model.peft.parameters():
        assert not hasattr(parameter, "grad_sample")
        assert not hasattr(parameter, "summed_grad")
        assert parameter.grad is None


def test_hooks_are_gone_after_a_fault_too():
    lab = a_laboratory()

    def faulty(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), per_example_gradients(lab.model.peft):
        fill_example_gradients(lab.model.parameters(), lab.examples, faulty)
    assert not any(module._forward_hooks for module in lab.model.peft.modules())
    assert close(hooked(lab), looped(lab))


def test_the_model_that_is_hooked_is_the_one_that_is_scored():
    lab = a_laboratory(people=2)
    with per_example_gradients(lab.model.peft):
        assert not isinstance(lab.model.base, GradSampleModule)
    before = lab.losses(lab.examples).detach()
    update = update_of(lab.examples, a_plan(clip_norm=5.0), Silent(), model=lab.model, training=lab.training)
    assert update.any()
    assert not torch.equal(lab.losses(lab.examples).detach(), before)


def test_only_the_second_factor_is_trained():
    lab = a_laboratory({"history_proj": 6}, people=3)
    held = {name: p.clone() for name, p in lab.model.peft.named_parameters()}
    update_of(lab.examples, a_plan(), seeded_source(0), model=lab.model, training=lab.training)
    changed = {name for name, p in lab.model.peft.named_parameters() if not torch.equal(p, held[name])}
    assert {name.split(".")[-3] for name in changed} == {"lora_B"}


# Refusals.


def test_a_private_step_that_moves_nothing_is_refused():
    lab = a_laboratory(people=3)
    training = TrainingConfig(positions=5, learning_rate=1e-30)
    task = LocalTask(adapter=np.ones(lab.model.layout.size, np.float32), negatives_seed=0)
    with pytest.raises(UnsafeUpdateError, match="moved nothing"):
        local_update(lab.model, lab.examples, task, training, plan=a_plan(), source=seeded_source(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_an_example_that_is_not_finite_adds_nothing_and_leaves_the_others_as_they_were(bad):
    lab = a_laboratory(people=3)

    def rows():
        with per_example_gradients(lab.model.peft):
            fill_example_gradients(lab.model.parameters(), lab.examples, lab.losses)
            return [parameter.grad_sample.clone() for parameter in lab.model.parameters()]

    usual = rows()
    (sums,) = lab.examples[1].inputs
    lab.examples[1] = replace(lab.examples[1], inputs=(sums * 0 + bad,))
    for before, after in zip(usual, rows(), strict=True):
        assert after.isfinite().all()
        assert torch.allclose(after[[0, 2]], before[[0, 2]])
        assert bad == 1e38 or not after[1].any()
    update = update_of(lab.examples, a_plan(), seeded_source(0), model=lab.model, training=lab.training)
    assert np.isfinite(update).all()


def test_a_private_step_without_a_source_of_noise_is_refused():
    with pytest.raises(UnsafeUpdateError, match="needs a source"):
        update_of([], a_plan(), None)


def test_a_layer_that_mixes_examples_is_refused():
    lab = a_laboratory(people=4)

    def mixed(batch):
        stacked = collate(batch, positions=lab.training.positions)
        (sums,) = stacked.inputs
        return lab.model.base(sums.flatten(0, 1)).sum().reshape(1)

    with (
        pytest.raises(UnsafeUpdateError, match="couples examples"),
        per_example_gradients(lab.model.peft),
    ):
        fill_example_gradients(lab.model.parameters(), lab.examples, mixed)


def test_a_private_step_refuses_a_layer_that_mixes_examples_as_that_is_nobodys_fault():
    lab = a_laboratory(people=4)

    def mixed(batch):
        (sums,) = collate(batch, positions=lab.training.positions).inputs
        return lab.model.base(sums.flatten(0, 1)).sum().reshape(1)

    with pytest.raises(UnsafeUpdateError, match="couples examples"):
        sound_sum(lab, lab.examples, a_plan(), mixed)


def test_a_trained_layer_that_no_head_reads_is_refused():
    lab = a_laboratory({"history_proj": 6, "rating_proj": 2}, people=3)
    with pytest.raises(UnsafeUpdateError, match="no head reads it"):
        update_of(lab.examples, a_plan(), seeded_source(0), model=lab.model, training=lab.training)


def test_training_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        update_of(a_laboratory(people=2).examples, a_plan(), seeded_source(0))
