import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.numpy import load_file

from fedrec.config import AdapterConfig, ModelConfig
from fedrec.config_file import parse_scenario
from fedrec.errors import ConfigError, LayoutError, UnsafeUpdateError
from fedrec.model.adapter import load_released
from fedrec.model.build import adapt, base_model_hash, build_recommender
from fedrec.model.layout import require_layout
from fedrec.model.scorer import ModelScorer
from tests.small_worlds import (
    ALL_RANKS,
    ITEMS,
    TITLES,
    WIDTH,
    a_model,
    a_random_history,
    a_text_model,
    an_index,
    save_tiny_bert,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ranks=st.dictionaries(st.sampled_from(sorted(ALL_RANKS)), st.integers(1, WIDTH), min_size=1),
    train_a=st.booleans(),
)
def test_flatten_and_load_invert(seed, ranks, train_a):
    model = a_model(ranks, train_a=train_a)
    flat = np.random.default_rng(seed).normal(size=model.layout.size).astype(np.float32)
    model.load(flat)
    assert np.array_equal(model.flatten(), flat)


def test_a_new_adapter_is_zero_and_has_the_size_of_its_second_factors():
    model = a_model(ALL_RANKS)
    assert not model.flatten().any()
    expected = sum(rank * (ITEMS if name == "items" else WIDTH) for name, rank in ALL_RANKS.items())
    assert model.layout.size == len(model.flatten()) == expected


def test_flatten_is_a_copy():
    model = a_model()
    model.flatten()[:] = 7
    assert not model.flatten().any()


@pytest.mark.parametrize("bad", ["short", "long", "table", "nan", "inf"])
def test_an_adapter_that_does_not_fit_is_refused_and_changes_nothing(bad):
    model = a_model(moved=0.5)
    before = model.flatten()
    size = model.layout.size
    given = {
        "short": np.zeros(size - 1),
        "long": np.zeros(size + 1),
        "table": np.zeros((1, size)),
        "nan": np.full(size, np.nan),
        "inf": np.r_[np.zeros(size - 1), np.inf],
    }[bad]
    with pytest.raises(UnsafeUpdateError, match="does not fit"):
        model.load(given)
    assert np.array_equal(model.flatten(), before)


def test_the_frozen_factor_is_orthonormal_and_spans_the_principal_directions():
    model = a_model(ALL_RANKS)
    factors = {name: p for name, p in model.peft.named_parameters() if "lora_A" in name}
    assert len(factors) == len(ALL_RANKS)
    for factor in factors.values():
        assert torch.equal(factor, torch.eye(*factor.shape))
        assert not factor.requires_grad


def test_the_frozen_factor_of_a_language_model_is_orthonormal_and_the_same_everywhere(tiny):
    one, other = a_text_model(tiny), a_text_model(tiny)
    for (name, factor), (_, same) in zip(one.peft.named_parameters(), other.peft.named_parameters(), strict=True):
        if "lora_A" in name:
            assert torch.allclose(factor @ factor.T, torch.eye(len(factor)), atol=1e-5)
            assert torch.equal(factor, same)


def test_a_rank_of_full_width_can_reach_any_matrix():
    # history_proj = B A with A the identity: B is the matrix itself.
    model = a_model({"history_proj": WIDTH})
    wanted = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    model.load(wanted.ravel())
    layer = model.base.tower.history_proj
    assert pytest.approx(wanted, abs=1e-5) == layer(torch.eye(WIDTH)).detach().numpy().T


def test_training_both_factors_is_another_layout():
    both, one = a_model(train_a=True), a_model()
    assert both.layout.size == one.layout.size + 6 * WIDTH
    assert both.layout.hash != one.layout.hash


def layout(ranks=None, *, config=None, seed=0, index_seed=0):
    config = config or ModelConfig()
    index = an_index(seed=index_seed)
    adapter = AdapterConfig(ranks=ranks or {"history_proj": 6}, seed=seed)
    return adapt(build_recommender(config, index), config, adapter, index).layout.hash


def test_the_layout_hash_names_rank_basis_and_base_model():
    hashes = [
        layout(),
        layout({"history_proj": 7}),
        layout({"item_proj": 6}),
        layout(seed=1),
        layout(index_seed=1),
        layout(config=ModelConfig(scale=4.0)),
        layout(config=ModelConfig(decay_weights=(0.5, 0.2, 0.3))),
    ]
    assert len(set(hashes)) == len(hashes)
    assert layout() == hashes[0]


def test_where_the_encoder_lies_is_no_part_of_the_base_model():
    index = an_index()
    prior = np.zeros(len(index), np.float32)
    here, there = (base_model_hash(ModelConfig(encoder=path), index, prior) for path in ("/here", "/there"))
    assert here == there
    assert here != base_model_hash(ModelConfig(encoder="/here"), index, prior + 1)


def test_two_layouts_refuse_each_other():
    require_layout(layout(), layout())
    with pytest.raises(LayoutError, match="another base model, index or recipe"):
        require_layout(layout(), layout(seed=1))


def test_a_rank_that_names_no_module_is_refused_and_the_modules_are_named():
    with pytest.raises(ConfigError, match=r"names `query`; this tower has history_proj, intent_proj"):
        a_model({"query": 4})


def test_a_rank_over_the_width_is_refused():
    with pytest.raises(ConfigError, match=rf"is {WIDTH + 1}, over the width {WIDTH}"):
        a_model({"history_proj": WIDTH + 1})


@pytest.mark.parametrize("mode", ["local"])
def test_both_factors_are_never_trained_under_noise(mode):
    table = {
        "name": "toy",
        "data": {"users_per_client": 5},
        "adapter": {"ranks": {"history_proj": 4}, "train_a": True},
        "privacy": {"mode": mode},
    }
    with pytest.raises(ConfigError, match="train_a"):
        parse_scenario(table)


def scores(model, histories):
    return ModelScorer(model, window=50, batch=4).scores(histories)


@pytest.mark.parametrize("ranks", [{"history_proj": 6}, ALL_RANKS])
def test_peft_loads_a_saved_adapter_of_the_linear_tower_to_the_same_scores(tmp_path, ranks):
    model = a_model(ranks, moved=0.5)
    draw = np.random.default_rng(0)
    histories = [a_random_history(draw, 9) for _ in range(5)]
    expected = scores(model.base, histories)
    model.save(tmp_path)
    fresh = build_recommender(ModelConfig(window=50), an_index())
    assert not np.allclose(scores(fresh, histories), expected)
    loaded = PeftModel.from_pretrained(fresh, str(tmp_path))
    assert scores(loaded.base_model.model, histories) == pytest.approx(expected, abs=1e-6)


def test_peft_loads_a_saved_adapter_of_the_text_tower_to_the_same_scores(tmp_path, tiny):
    model = a_text_model(tiny, {"query": 4, "value": 3, "item_proj": 5})
    model.load(np.random.default_rng(1).normal(size=model.layout.size) * 0.3)
    draw = np.random.default_rng(0)
    histories = [a_random_history(draw, 5, rows=len(TITLES)) for _ in range(5)]
    expected = scores(model.base, histories)
    model.save(tmp_path)
    config = ModelConfig(tower="text", encoder=str(tiny), titles=3)
    fresh = build_recommender(config, an_index(len(TITLES), 32), texts=(TITLES, []))
    assert not np.allclose(scores(fresh, histories), expected)
    loaded = PeftModel.from_pretrained(fresh, str(tmp_path))
    assert scores(loaded.base_model.model, histories) == pytest.approx(expected, abs=1e-6)


def test_a_release_loads_without_a_warning(tmp_path):
    a_model(moved=0.5).save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_released(build_recommender(ModelConfig(), an_index()), tmp_path)


def test_a_saved_adapter_holds_the_adapter_and_nothing_else(tmp_path):
    model = a_model({"history_proj": 6}, moved=0.5)
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(name.split(".")[-2] for name in tensors) == ["lora_A", "lora_B"]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        a_model(ALL_RANKS, moved=0.5).save(tmp_path / name)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_a_layout_is_a_value():
    one = a_model().layout
    assert one == a_model().layout
    assert replace(one, hash="other") != one
