"""The numpy model is the torch model: scores, pulls and released adapters agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedrec.config import AdapterConfig, ModelConfig
from fedrec.errors import UnsafeUpdateError, VerificationError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.linear import LinearModel, module_of
from fedrec.model.recommender import LinearTower, Recommender
from tests.linear_worlds import Rows, linear_of

ITEMS, WIDTH, DECAYS = 40, 12, (0.0, 0.7, 0.95)
EVERYTHING = {"history_proj": 5, "item_proj": 4, "items": 3, "intent_proj": 2, "rating_proj": 2}


def both_models(seed: int = 0, ranks: dict[str, int] | None = None) -> tuple[AdaptedModel, LinearModel]:
    """A torch model with a random adapter, and the numpy model of the same numbers."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    prior = rng.normal(size=ITEMS).astype(np.float32)
    config = ModelConfig(decays=DECAYS, scale=2.0)
    tower = LinearTower(vectors, decays=DECAYS, weights=config.decay_weights)
    model = Recommender(tower, vectors, scale=config.scale, prior=prior)
    adapted = AdaptedModel(model, AdapterConfig(ranks=ranks or EVERYTHING), base_hash="x")
    flat = rng.normal(scale=0.3, size=adapted.layout.size).astype(np.float32)
    adapted.load(flat)
    return adapted, linear_of(adapted, config)


@pytest.mark.parametrize("ranks", [EVERYTHING, {"history_proj": WIDTH}, {"items": 2}])
def test_scores_are_those_of_the_torch_model(ranks: dict[str, int]) -> None:
    adapted, plain = both_models(ranks=ranks)
    sums = np.random.default_rng(1).normal(size=(6, len(DECAYS), WIDTH)).astype(np.float32)
    with torch.no_grad():
        expected = adapted.base(torch.from_numpy(sums)).numpy()
    found = np.stack([plain.scores(plain.query(each)) for each in sums])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_score_is_what_its_pull_makes_of_the_sums_plus_the_prior() -> None:
    _, plain = both_models(seed=2)
    sums = np.random.default_rng(3).normal(size=(len(DECAYS), WIDTH)).astype(np.float32)
    rows = np.array([0, 7, 39])
    pulled = (plain.pull(rows) * sums).sum((1, 2)) + plain.prior[rows]
    np.testing.assert_allclose(pulled, plain.scores(plain.query(sums))[rows], rtol=1e-5, atol=1e-5)


def test_new_items_are_scored_by_their_vectors_alone() -> None:
    _, plain = both_models(seed=4)
    query = np.ones(WIDTH, np.float32)
    added = np.random.default_rng(5).normal(size=(2, WIDTH)).astype(np.float32)
    longer = plain.extended(Rows(np.concatenate([plain.index.vectors(slice(None)), added])))
    np.testing.assert_allclose(longer.scores(query)[-2:], added @ query, rtol=1e-5)
    np.testing.assert_array_equal(longer.scores(query)[:-2], plain.scores(query))


def test_an_adapter_of_another_size_or_with_a_hole_is_refused() -> None:
    _, plain = both_models()
    with pytest.raises(UnsafeUpdateError):
        plain.with_adapter(np.zeros(plain.layout.size + 1, np.float32))
    with pytest.raises(UnsafeUpdateError):
        plain.with_adapter(np.full(plain.layout.size, np.nan, np.float32))


def test_factors_that_do_not_fit_the_index_are_refused() -> None:
    _, plain = both_models()
    with pytest.raises(VerificationError):
        replace(plain, prior=np.zeros(3, np.float32)).require_fitting()


def test_the_module_of_a_tensor_is_read_from_its_name() -> None:
    assert module_of("base_model.model.items.lora_A.weight") == "items"
