from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.model.heads import Batch, example_losses, predict_intent, predict_rating
from fedrec.training.batches import collate
from tests.small_worlds import ALL_HEADS, ALL_RANKS, ITEMS, a_laboratory, a_model

RANKS_OF = {
    "next_item": {"history_proj": 6, "item_proj": 4, "items": 3},
    "intent": {"history_proj": 6, "item_proj": 4, "intent_proj": 5},
    "rating": {"rating_proj": 2},
}


def world(head, *, seed=0, negatives=0):
    ranks = {**RANKS_OF[head]}
    if negatives:
        ranks.pop("items", None)
    lab = a_laboratory(ranks, heads={head: 1.0}, seed=seed, negatives=negatives)
    batch = collate(lab.examples, positions=5)
    with torch.no_grad():
        losses = lab.losses(lab.examples).double().numpy()
        scores = lab.model.base(*batch.inputs).double().numpy()
        state = lab.model.base.state(*batch.inputs)
    return lab, losses, scores, state


def own_mean(values):
    return np.mean(values) if len(values) else 0.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), negatives=st.sampled_from([0, 9]))
def test_next_item_is_the_softmax_against_the_catalogue_without_the_persons_own(seed, negatives):
    lab, losses, scores, _ = world("next_item", seed=seed, negatives=negatives)
    candidates = range(ITEMS) if lab.negatives is None else lab.negatives.tolist()
    for person, example in enumerate(lab.examples):
        each = []
        for position, (target, aim) in enumerate(zip(example.targets, example.aims, strict=True)):
            if aim:
                row = scores[person, position]
                others = [row[item] for item in candidates if item not in example.own]
                each.append(np.logaddexp.reduce([row[target], *others]) - row[target])
        assert losses[person] == pytest.approx(own_mean(each), abs=1e-5)


def test_sampling_every_item_is_the_full_softmax():
    lab = a_laboratory({"history_proj": 6}, seed=4)
    batch = collate(lab.examples, positions=5)
    full = example_losses(lab.model.base, batch, heads={"next_item": 1.0})
    sampled = example_losses(lab.model.base, batch, heads={"next_item": 1.0}, negatives=torch.arange(ITEMS))
    assert torch.allclose(full, sampled, atol=1e-5)


def test_a_person_who_likes_everything_has_nothing_to_lose():
    lab = a_laboratory({"history_proj": 6}, people=1)
    lab.examples[0] = replace(lab.examples[0], own=np.arange(ITEMS))
    assert lab.losses(lab.examples).detach().numpy() == pytest.approx([0.0], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_intent_is_the_cross_entropy_of_the_labelled_positions(seed):
    lab, losses, _, state = world("intent", seed=seed)
    for person, example in enumerate(lab.examples):
        each = []
        for position, (row, label) in enumerate(zip(example.targets, example.intents, strict=True)):
            if not np.isnan(label):
                wanted = lab.model.base.intent_proj(state.taste[person, position]) + state.query[person, position]
                chance = 1 / (1 + np.exp(-float((wanted @ lab.model.base.items.weight[row]).detach())))
                each.append(-np.log(chance if label else 1 - chance))
        assert losses[person] == pytest.approx(own_mean(each), rel=1e-4, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rating_is_the_squared_error_around_the_persons_usual_rating(seed):
    lab, losses, _, state = world("rating", seed=seed)
    for person, example in enumerate(lab.examples):
        each = []
        for position, (row, label) in enumerate(zip(example.targets, example.ratings, strict=True)):
            if not np.isnan(label):
                taste = lab.model.base.rating_proj(state.taste[person, position])
                above = float((taste @ lab.model.base.items.weight[row]).detach())
                each.append((example.usual[position] + above - label) ** 2)
        assert losses[person] == pytest.approx(own_mean(each), rel=1e-4, abs=1e-5)


def test_heads_are_summed_by_their_weights():
    lab = a_laboratory(ALL_RANKS, heads=ALL_HEADS)
    batch = collate(lab.examples, positions=5)

    def losses(heads):
        return example_losses(lab.model.base, batch, heads=heads)

    parts = sum(weight * losses({head: 1.0}) for head, weight in ALL_HEADS.items())
    assert torch.allclose(losses(ALL_HEADS), parts, atol=1e-5)


def test_an_example_without_labels_has_no_loss_and_no_gradient():
    lab = a_laboratory({"history_proj": 6, "intent_proj": 4}, people=2, heads={"intent": 1.0})
    batch = collate(lab.examples, positions=5)
    silent = replace(batch, intents=torch.full_like(batch.intents, float("nan")))
    loss = example_losses(lab.model.base, silent, heads={"intent": 1.0})
    loss.sum().backward()
    assert not loss.any()
    assert all(not p.grad.any() for p in lab.model.parameters())


def test_with_a_zero_adapter_a_rating_is_the_usual_one_and_intent_is_the_score():
    model = a_model(ALL_RANKS).base
    batch = collate(a_laboratory(moved=0.0).examples, positions=5)
    state = model.state(*batch.inputs)
    assert torch.equal(predict_rating(model, state, batch.targets, batch.usual), batch.usual)
    score = model.logits(state.query).gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(predict_intent(model, state, batch.targets), score, atol=1e-4)


def test_a_batch_is_as_long_as_its_examples():
    batch = collate(a_laboratory(people=3).examples, positions=5)
    assert isinstance(batch, Batch)
    assert len(batch) == 3
