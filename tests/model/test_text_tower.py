import numpy as np
import pytest
import torch

from fedrec.config import AdapterConfig, ModelConfig, TrainingConfig
from fedrec.errors import ConfigError
from fedrec.model.build import adapt, build_recommender
from fedrec.model.item_index import build_index
from fedrec.model.scorer import ModelScorer
from fedrec.model.text_encoder import TextEncoder
from tests.small_worlds import TITLES, Laboratory, a_history, a_random_history, a_text_model, an_index, save_tiny_bert


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def query(model, history):
    """(d,) what the tower asks for after the whole history."""
    inputs = model.base.tower.inputs(history, np.array([len(history)]))
    return model.base.tower(*inputs).query[0].detach().numpy()


def embedded(model, text):
    """(d,) by the encoder alone, on one text without padding."""
    tower = model.base.tower
    tokens = tower.tokenizer([text], return_tensors="pt")
    hidden = tower.encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    return torch.nn.functional.normalize(hidden.mean(1), dim=-1).detach().numpy()


def test_a_zero_adapter_is_the_whitened_embedding_of_the_last_titles(tiny):
    model = a_text_model(tiny, titles=3)
    history = a_history([0, 4, 7, 9])
    text = "; ".join(TITLES[row] for row in (9, 7, 4))
    expected = an_index(len(TITLES), 32).whitening.apply(embedded(model, text))[0]
    assert query(model, history) == pytest.approx(expected, abs=1e-4)


def test_the_newest_title_comes_first_and_only_what_was_told_is_read(tiny):
    tower = a_text_model(tiny, titles=2).base.tower
    history = a_history([0, 4, 7, 9], weights=[1, 1, 0, 1])
    ids, mask = tower.inputs(history, np.array([4, 3, 1]))
    said = [
        tower.tokenizer.decode(row[seen.bool()], skip_special_tokens=True) for row, seen in zip(ids, mask, strict=True)
    ]
    assert said == [f"{TITLES[9]} ; {TITLES[4]}", f"{TITLES[4]} ; {TITLES[0]}", TITLES[0]]


def test_a_person_with_no_history_asks_for_nothing(tiny):
    model = a_text_model(tiny)
    assert not query(model, a_history([])).any()
    assert not query(model, a_history([3, 4], weights=[0, 0])).any()
    assert query(model, a_history([3])).any()


def test_the_company_in_a_batch_changes_no_score(tiny):
    model = a_text_model(tiny)
    draw = np.random.default_rng(0)
    histories = [a_random_history(draw, length, rows=len(TITLES)) for length in (0, 1, 4, 9)]
    together = ModelScorer(model.base, window=50, batch=4).scores(histories)
    alone = ModelScorer(model.base, window=50, batch=1).scores(histories)
    assert np.isfinite(together).all()
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("positions", [4, 11])
def test_padded_positions_leave_the_loss_a_number_and_change_nothing(tiny, positions):
    model = a_text_model(tiny)
    histories = [a_history([0, 1, 2]), a_history([3, 4, 5, 6, 7])]
    padded, plain = (
        Laboratory(model, histories, training=TrainingConfig(positions=count)) for count in (positions, 20)
    )
    losses = padded.losses(padded.examples).detach()
    assert losses.isfinite().all()
    assert torch.allclose(losses, plain.losses(plain.examples).detach(), atol=1e-5)


def test_no_part_of_a_batch_is_left_to_chance(tiny):
    model = a_text_model(tiny)
    model.peft.train()
    history = a_history([1, 2, 3])
    assert np.array_equal(query(model, history), query(model, history))


def test_an_index_of_another_width_is_refused(tiny):
    config = ModelConfig(tower="text", encoder=str(tiny))
    with pytest.raises(ConfigError, match="32 wide and the item index 12"):
        build_recommender(config, an_index(len(TITLES), 12), texts=(TITLES, []))


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    config = ModelConfig(tower="text", encoder=str(tmp_path))
    with pytest.raises(ConfigError, match="holds no encoder"):
        build_recommender(config, an_index(len(TITLES), 32), texts=(TITLES, []))


def test_on_the_packaged_encoder_one_title_is_asked_for_by_its_own_vector():
    encoder = TextEncoder.open()
    embeddings = encoder.encode(TITLES, cache=False)
    ids = [f"i{row}" for row in range(len(TITLES))]
    index = build_index(embeddings, ids, encoder_name=encoder.name, encoder_hash=encoder.hash)
    config = ModelConfig(tower="text", titles=8)
    model = adapt(
        build_recommender(config, index, texts=(TITLES, [])), config, AdapterConfig(ranks={"query": 8}), index
    )
    for row in range(len(TITLES)):
        assert query(model, a_history([row])) == pytest.approx(index.whitening.apply(embeddings)[row], abs=1e-4)
    # A person asks first of all for what the one title of theirs says.
    scores = ModelScorer(model.base, window=50).scores([a_history([row]) for row in range(len(TITLES))])
    assert scores.argmax(axis=1).tolist() == list(range(len(TITLES)))


def test_on_the_packaged_encoder_several_titles_are_read_as_one_text():
    encoder = TextEncoder.open()
    embeddings = encoder.encode(TITLES, cache=False)
    ids = [f"i{row}" for row in range(len(TITLES))]
    index = build_index(embeddings, ids, encoder_name=encoder.name, encoder_hash=encoder.hash)
    config = ModelConfig(tower="text", titles=3)
    model = adapt(
        build_recommender(config, index, texts=(TITLES, [])), config, AdapterConfig(ranks={"query": 8}), index
    )
    text = "; ".join(TITLES[row] for row in (8, 5, 2))
    expected = index.whitening.apply(encoder.encode([text], cache=False))[0]
    assert query(model, a_history([11, 2, 5, 8])) == pytest.approx(expected, abs=1e-4)
