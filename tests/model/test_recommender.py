import numpy as np
import pytest
import torch

from fedrec.model.recommender import LinearTower, Recommender
from fedrec.model.scorer import ModelScorer
from tests.small_worlds import ALL_RANKS, ITEMS, WIDTH, a_history, a_model, a_random_history, an_index

DECAYS, WEIGHTS = (0.0, 0.7, 0.95), (0.2, 0.5, 0.3)


def zero_shot(history, vectors, scale):
    """(N,) in plain numpy: the weighted decayed sums of the history before every item."""
    query = np.zeros(vectors.shape[1])
    told = [row for row, weight in zip(history.rows, history.weights, strict=True) if weight > 0]
    counts = [weight for weight in history.weights if weight > 0]
    for decay, share in zip(DECAYS, WEIGHTS, strict=True):
        for age, (row, count) in enumerate(zip(told[::-1], counts[::-1], strict=True)):
            query += share * decay**age * count * vectors[row]
    return scale * vectors @ query


def scores_of(model, histories):
    return ModelScorer(model.base, window=50).scores(histories)


@pytest.mark.parametrize("ranks", [{"history_proj": 6}, ALL_RANKS])
def test_a_zero_adapter_is_zero_shot_retrieval(ranks):
    draw = np.random.default_rng(0)
    histories = [a_random_history(draw, length) for length in (0, 1, 5, 20)]
    found = scores_of(a_model(ranks), histories)
    vectors = an_index().vectors.astype(float)
    expected = [zero_shot(history, vectors, 3.0) for history in histories]
    assert found == pytest.approx(np.array(expected), abs=2e-4)


def test_a_person_with_no_history_gets_the_prior():
    prior = np.linspace(0, 3, ITEMS).astype(np.float32)
    found = scores_of(a_model(prior=prior), [a_history([])])
    assert found[0] == pytest.approx(0.5 * prior, abs=1e-6)


def test_the_prior_is_added_to_every_score():
    prior = np.linspace(0, 3, ITEMS).astype(np.float32)
    histories = [a_history([1, 2, 3]), a_history([4])]
    with_prior, without = (scores_of(a_model(prior=each), histories) for each in (prior, None))
    assert with_prior - without == pytest.approx(np.broadcast_to(0.5 * prior, (2, ITEMS)), abs=1e-4)


def test_sampled_scores_equal_the_full_ones_at_those_rows():
    prior = np.linspace(0, 3, ITEMS).astype(np.float32)
    model = a_model({"history_proj": 6, "item_proj": 4}, prior=prior, moved=0.5).base
    query = torch.randn(5, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    full = model.logits(query)
    shared = torch.tensor([0, 7, 39])
    assert torch.allclose(model.sampled_logits(query, shared), full[..., shared], atol=1e-5)
    own = torch.randint(0, ITEMS, (5, 3, 4), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model.sampled_logits(query, own), full.gather(-1, own), atol=1e-5)


def test_the_adapter_changes_scores():
    histories = [a_history([1, 2, 3])]
    assert not np.allclose(scores_of(a_model(ALL_RANKS, moved=0.5), histories), scores_of(a_model(), histories))


def test_the_batch_changes_no_score():
    draw = np.random.default_rng(3)
    histories = [a_random_history(draw, 6) for _ in range(7)]
    model = a_model(ALL_RANKS, moved=0.3).base
    together = ModelScorer(model, window=50).scores(histories)
    for batch in (1, 3):
        assert ModelScorer(model, window=50, batch=batch).scores(histories) == pytest.approx(together, abs=1e-4)


def test_only_the_window_is_read():
    long, short = a_history(range(20)), a_history(range(15, 20))
    model = a_model().base
    found = ModelScorer(model, window=5).scores([long, short])
    assert found[0] == pytest.approx(found[1])


def test_a_search_joins_the_history_as_an_item_would():
    vectors = an_index().vectors
    search = np.random.default_rng(1).normal(size=(1, WIDTH)).astype(np.float32)
    tower = LinearTower(np.concatenate([vectors, search]), decays=(1.0,), weights=(1.0,))
    model = Recommender(tower, vectors, scale=2.0)
    found = ModelScorer(model, window=5).scores([a_history([ITEMS])])
    assert model.catalogue_size == found.shape[1] == ITEMS
    assert found[0] == pytest.approx(2 * vectors @ search[0], abs=1e-4)


def test_nothing_of_the_base_model_is_trainable():
    model = a_model(ALL_RANKS)
    trained = {name for name, p in model.base.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_B" in name for name in trained)
