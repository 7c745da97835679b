"""A graph proposes and exact scores decide; held against looking at everything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import ModelConfig
from fedrec.errors import DataError
from fedrec.model.device_index import DeviceIndex
from fedrec.model.item_index import ItemIndex, Whitening
from fedrec.model.layout import Layout
from fedrec.model.linear import Factor, LinearModel
from fedrec.ondevice.nearest import LARGE, best_items, build_graph, open_graph

WIDTH = 24
SMALL = 100


def a_model(folder: Path, items: int, *, width: int = WIDTH, seed: int = 0) -> LinearModel:
    """Items in a few hundred groups, half-whitened as real ones are, and a prior with a long tail."""
    draw = np.random.default_rng(seed)
    spread = np.arange(1, width + 1) ** -0.35
    groups = draw.normal(size=(300, width)) * spread
    vectors = np.empty((items, width), np.float32)
    for start in range(0, items, 20_000):
        part = slice(start, min(start + 20_000, items))
        size = part.stop - part.start
        vectors[part] = 0.8 * groups[draw.integers(300, size=size)] + 0.6 * spread * draw.normal(size=(size, width))
    vectors /= np.sqrt(np.square(vectors).sum(1).mean())
    plain = Whitening(np.zeros(width, np.float32), np.eye(width, dtype=np.float32), np.ones(width, np.float32))
    path = folder / "index"
    ItemIndex([f"i{row}" for row in range(items)], vectors, plain, "toy", f"{seed:064d}").save_int8(path)
    prior = (0.3 * np.log1p(10 * draw.pareto(1.2, items))).astype(np.float32)
    return LinearModel(
        config=ModelConfig(), index=DeviceIndex.open(path), prior=prior, factors={}, layout=Layout((), (), "")
    )


def queries(model: LinearModel, count: int, seed: int = 1) -> np.ndarray:
    """What people ask: the mean of a few items, at the scale of scores."""
    draw = np.random.default_rng(seed)
    return np.stack([8 * model.index.vectors(draw.integers(len(model.index), size=8)).mean(0) for _ in range(count)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nearest")


@pytest.fixture(scope="module")
def model(place: Path) -> LinearModel:
    made = a_model(place, 4000)
    assert build_graph(place / "search", made, large=SMALL)
    return made


def index_of(model: LinearModel) -> DeviceIndex:
    assert isinstance(model.index, DeviceIndex)
    return model.index


def recall(model: LinearModel, nearest: object, allowed: np.ndarray, *, most: int, count: int) -> float:
    index, shares = index_of(model), []
    for query in queries(model, count):
        rows, scores = best_items(query, index, model.prior, allowed, most=most, nearest=nearest)  # type: ignore[arg-type]
        exact, best = best_items(query, index, model.prior, allowed, most=most, nearest=None)
        assert allowed[rows].all()
        assert len(np.unique(rows)) == len(rows) == len(exact)
        assert (np.diff(scores) <= 0).all()
        assert scores[0] <= best[0] + 1e-4
        shares.append(len(np.intersect1d(rows, exact)) / len(exact))
    return float(np.mean(shares))


def test_nearly_all_of_the_best_are_found(place: Path, model: LinearModel) -> None:
    nearest = open_graph(place / "search", model, large=SMALL)
    assert nearest is not None
    assert recall(model, nearest, np.ones(4000, np.bool_), most=20, count=40) > 0.99


def test_scores_are_exact_whoever_proposed_the_items(place: Path, model: LinearModel) -> None:
    nearest = open_graph(place / "search", model, large=SMALL)
    index, (query,) = index_of(model), queries(model, 1)
    rows, scores = best_items(query, index, model.prior, np.ones(4000, np.bool_), most=30, nearest=nearest)
    assert scores == pytest.approx((index.scores(query) + model.prior)[rows], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(share=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5]), most=st.integers(1, 200), seed=st.integers(0, 99))
def test_filters_never_leave_fewer_than_there_are(
    place: Path, model: LinearModel, share: float, most: int, seed: int
) -> None:
    """Where the graph proposes too little that is allowed, everything is looked at."""
    nearest = open_graph(place / "search", model, large=SMALL)
    allowed = np.random.default_rng(seed).random(4000) < share
    (query,) = queries(model, 1, seed)
    rows, _ = best_items(query, index_of(model), model.prior, allowed, most=most, nearest=nearest)
    assert len(rows) == min(most, allowed.sum())
    assert allowed[rows].all()


def test_what_was_added_on_the_device_is_found_at_once(place: Path, model: LinearModel) -> None:
    nearest = open_graph(place / "search", model, large=SMALL)
    (query,) = queries(model, 1)
    index = index_of(model).extended(["new"], query[None])
    prior = np.append(model.prior, np.float32(0))
    rows, _ = best_items(query, index, prior, np.ones(4001, np.bool_), most=5, nearest=nearest)
    assert rows[0] == 4000


def test_a_graph_is_for_one_catalogue_and_one_prior(place: Path, model: LinearModel, tmp_path: Path) -> None:
    assert open_graph(place / "search", replace(model, prior=model.prior + 1), large=SMALL) is None
    assert open_graph(place / "search", a_model(tmp_path, 4000, seed=7), large=SMALL) is None
    assert open_graph(tmp_path / "nowhere", model, large=SMALL) is None


def test_another_catalogues_graph_takes_the_place_of_the_last(tmp_path: Path) -> None:
    for seed in range(2):
        built = a_model(tmp_path, 300, seed=seed)
        assert build_graph(tmp_path / "search", built, large=SMALL)
        assert len(list((tmp_path / "search").iterdir())) == 1
        assert open_graph(tmp_path / "search", built, large=SMALL) is not None


def test_a_damaged_graph_is_not_used_and_built_again(tmp_path: Path) -> None:
    built = a_model(tmp_path, 300)
    build_graph(tmp_path / "search", built, large=SMALL)
    (path,) = (tmp_path / "search").iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert open_graph(tmp_path / "search", built, large=SMALL) is None
    assert build_graph(tmp_path / "search", built, large=SMALL)
    assert open_graph(tmp_path / "search", built, large=SMALL) is not None


def test_small_catalogues_and_item_residuals_have_no_graph(tmp_path: Path) -> None:
    small = a_model(tmp_path, 300)
    assert not build_graph(tmp_path / "search", small)
    residual = Factor(np.zeros((2, WIDTH), np.float32), np.zeros((300, 2), np.float32))
    assert not build_graph(tmp_path / "search", replace(small, factors={"items": residual}), large=SMALL)
    assert not (tmp_path / "search").exists()


def test_an_index_in_memory_has_no_file_to_build_a_graph_over(tmp_path: Path, model: LinearModel) -> None:
    class Plain:
        width = WIDTH

        def __len__(self) -> int:
            return 300

    with pytest.raises(DataError, match="int8 index of a release"):
        build_graph(tmp_path, replace(model, index=Plain()), large=SMALL)  # type: ignore[arg-type]


@pytest.mark.study
def test_just_over_the_limit_nearly_nothing_is_missed(tmp_path: Path) -> None:
    items = LARGE + 1
    large = a_model(tmp_path, items, width=96)
    assert build_graph(tmp_path / "search", large)
    nearest = open_graph(tmp_path / "search", large)
    assert nearest is not None
    everything = np.ones(items, np.bool_)
    seen = np.random.default_rng(3).random(items) < 0.3
    for allowed in (everything, ~seen):
        assert recall(large, nearest, allowed, most=10, count=100) > 0.99
        assert recall(large, nearest, allowed, most=100, count=100) > 0.98
