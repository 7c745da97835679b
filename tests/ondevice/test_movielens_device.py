"""On real data: a device ranks as torch does, explains every list to the last digit, and learns from each tap."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from fedrec.data.sequences import Floats, History
from fedrec.model.adapter import load_released
from fedrec.model.build import build_recommender
from fedrec.model.catalogue_index import encode_queries
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.model.item_index import ItemIndex
from fedrec.model.scorer import ModelScorer
from fedrec.model.text_encoder import TextEncoder, default_encoder_path
from fedrec.ondevice.context import NO_CONTEXT
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.scoring import scores_of
from fedrec.training.publishing import ADAPTER
from tests.ondevice.device_worlds import NOW
from tests.ondevice.movielens import MovieLens, a_movielens, live, top

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

HISTORIES = 1000


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> MovieLens:
    return a_movielens(tmp_path_factory.mktemp("movielens"))


@pytest.fixture(scope="module")
def engine(movielens: MovieLens) -> Iterator[Engine]:
    with Engine.open(movielens.device, keys="file", now=lambda: NOW) as engine:
        yield engine


@pytest.fixture(scope="module")
def histories(movielens: MovieLens) -> list[History]:
    found = movielens.histories()[:HISTORIES]
    assert len(found) == HISTORIES
    return found


@pytest.fixture(scope="module")
def on_the_device(movielens: MovieLens, engine: Engine, histories: list[History]) -> Floats:
    """(1000, N) scores of the engine, each after recording that history through it."""
    found = np.empty((len(histories), len(engine.catalogue)), dtype=np.float32)
    for place, history in enumerate(histories):
        live(engine, movielens.events(history))
        found[place] = scores_of(engine._person.question(NO_CONTEXT), engine.model)
    return found


def test_the_ten_best_are_those_of_the_torch_model(
    movielens: MovieLens, histories: list[History], on_the_device: Floats
) -> None:
    index = ItemIndex.load(movielens.release / "index.safetensors")
    encoder = TextEncoder.open(default_encoder_path())
    queries = encode_queries(encoder, index, movielens.split.sequences.texts, cache=True)
    expected = movielens.torch_scorer(queries).scores(histories)
    shared = [len(set(top(ours)) & set(top(theirs))) / 10 for ours, theirs in zip(on_the_device, expected, strict=True)]
    print(f"top-10 overlap on {len(shared)} histories: mean {np.mean(shared):.4f}, least {min(shared):.1f}")
    assert np.mean(shared) >= 0.99


def test_on_the_same_vectors_the_scores_are_the_same(
    movielens: MovieLens, engine: Engine, histories: list[History], on_the_device: Floats
) -> None:
    config = replace(engine.model.config, prior_weight=1.0)
    texts = engine._person._reader.texts
    queries = np.stack([texts.of_text(text) for text in movielens.split.sequences.texts])
    index = ItemIndex.load(movielens.release / DEVICE_INDEX)
    model = build_recommender(config, index, query_vectors=queries, prior=engine.model.prior)
    load_released(model, movielens.release / ADAPTER)
    expected = ModelScorer(model, window=config.window).scores(histories)
    np.testing.assert_allclose(on_the_device, expected, rtol=1e-4, atol=2e-4)
    for ours, theirs in zip(on_the_device, expected, strict=True):
        # Whoever is on one list and not on the other is level with the last of it.
        swapped = set(top(ours)) ^ set(top(theirs))
        assert all(abs(theirs[row] - theirs[top(theirs)[-1]]) < 2e-4 for row in swapped)


def test_every_explanation_of_every_list_adds_up(movielens: MovieLens, engine: Engine) -> None:
    worst = 0.0
    explained = 0
    for user in range(movielens.split.sequences.users):
        held = movielens.split.until(user, test=True)
        if held is None:
            continue
        live(engine, movielens.events(held[0]))
        for item in engine.recommend(10).items:
            explanation = engine.explain(item.item_id)
            largest = max(1.0, abs(item.score))
            total = sum(part.contribution for part in explanation.parts)
            worst = max(worst, abs(total - explanation.score) / largest, abs(total - item.score) / largest)
            explained += 1
    print(f"{explained} explanations, worst difference {worst:.2e}")
    assert explained > 6000
    assert worst <= 1e-5


def test_each_tap_brings_the_taste_of_a_stranger_nearer(movielens: MovieLens, engine: Engine) -> None:
    taps = (0, 1, 2, 5)
    ranks: dict[int, list[float]] = {count: [] for count in taps}
    items = movielens.split.sequences.items
    for user in range(0, movielens.split.sequences.users, 3):
        held = movielens.split.until(user, test=False)
        if held is None or held[0].targets.sum() < max(taps):
            continue
        history, target = held
        chosen = history.take(np.flatnonzero(history.targets & (history.rows < items)))
        for count in taps:
            live(engine, movielens.events(chosen.take(slice(len(chosen) - count, None))))
            scores = scores_of(engine._person.question(NO_CONTEXT), engine.model)
            # The same items are left out whatever was tapped, so that ranks can be compared.
            scores[np.setdiff1d(chosen.rows[-max(taps) :], [target])] = -np.inf
            ranks[count].append(float((scores > scores[target]).sum()))
    means = {count: float(np.mean(np.log1p(found))) for count, found in ranks.items()}
    print(f"mean log rank of the next choice after 0, 1, 2, 5 taps: {means}, {len(ranks[0])} people")
    assert means[0] > means[1] > means[2] > means[5]
