from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import DataError, VerificationError
from fedrec.model.item_index import ItemIndex, Whitening, build_index, fuse, quantise


def make_index(rows: int = 40, width: int = 8, seed: int = 0) -> ItemIndex:
    return build_index(embed(rows, width, seed), ids(rows), encoder_name="toy", encoder_hash="0" * 64)


def embed(rows: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 3).astype(np.float32)


def ids(rows: int, prefix: str = "é項") -> list[str]:
    return [f"{prefix}{row}" for row in range(rows)]


def test_coordinates_are_principal_directions_half_whitened_in_descending_order() -> None:
    embeddings = embed(500, 8, 1)
    vectors = build_index(embeddings, ids(500), encoder_name="toy", encoder_hash="").vectors.astype(np.float64)
    covariance = np.cov(vectors.T)
    off_diagonal = covariance - np.diag(np.diag(covariance))
    assert np.abs(off_diagonal).max() < 2e-3 * covariance.max()
    # Half-whitened: a coordinate's variance is the standard deviation of its principal component.
    deviations = np.sqrt(np.linalg.eigvalsh(np.cov(embeddings.T.astype(np.float64)))[::-1])
    assert np.allclose(np.diag(covariance) / covariance[0, 0], deviations / deviations[0], rtol=1e-2)


def test_rows_have_a_root_mean_square_norm_of_one_and_mean_zero() -> None:
    vectors = make_index(200).vectors
    assert np.sqrt((vectors**2).sum(axis=1).mean()) == pytest.approx(1, abs=1e-3)
    assert np.abs(vectors.mean(axis=0)).max() < 1e-3


def test_fewer_items_than_coordinates_leave_the_empty_directions_at_zero() -> None:
    index = make_index(rows=5, width=16)
    assert np.isfinite(index.vectors).all()
    assert (index.whitening.scale > 0).sum() == 4
    assert not index.vectors[:, 4:].any()


def test_the_sign_of_a_direction_does_not_hang_on_the_order_of_the_items() -> None:
    embeddings = embed(60, 6, 2)
    order = np.random.default_rng(0).permutation(60)
    first = build_index(embeddings, ids(60), encoder_name="toy", encoder_hash="")
    second = build_index(embeddings[order], ids(60), encoder_name="toy", encoder_hash="")
    assert np.allclose(first.vectors[order], second.vectors, atol=2e-3)


@pytest.mark.parametrize("embeddings", [np.ones((4, 3)), np.full((4, 3), np.nan), np.zeros((0, 3))])
def test_embeddings_that_say_nothing_are_refused(embeddings: np.ndarray) -> None:
    with pytest.raises(DataError):
        build_index(embeddings, ids(len(embeddings)), encoder_name="toy", encoder_hash="")


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(2, 30), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_saving_and_loading_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, width: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "index.safetensors"
    index = make_index(rows, width, seed)
    index.save(path)
    loaded = ItemIndex.load(path)
    assert loaded.item_ids == index.item_ids
    assert np.array_equal(loaded.vectors, index.vectors)
    assert loaded.content_hash == index.content_hash
    assert np.array_equal(loaded.whitening.apply(index.vectors), index.whitening.apply(index.vectors))


@pytest.mark.parametrize("save", [ItemIndex.save, ItemIndex.save_int8])
def test_the_same_index_is_the_same_file(tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    for number in range(8):
        save(make_index(), tmp_path / str(number))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 30), width=st.integers(1, 12), seed=st.integers(0, 99), size=st.floats(1e-3, 1e3))
def test_int8_codes_are_within_half_a_step(rows: int, width: int, seed: int, size: float) -> None:
    vectors = (np.random.default_rng(seed).normal(size=(rows, width)) * size).astype(np.float32)
    vectors[0] = 0
    codes, scales = quantise(vectors)
    assert (np.abs(codes * scales[:, None] - vectors) <= scales[:, None] * 0.5001).all()


def test_an_int8_file_keeps_the_top_ten_and_names_its_original(tmp_path: Path) -> None:
    index = make_index(rows=800, width=64)
    index.save_int8(tmp_path / "index.int8.safetensors")
    loaded = ItemIndex.load(tmp_path / "index.int8.safetensors")
    queries = index.vectors[:50]
    exact = np.argsort(-queries @ index.vectors.T, axis=1)[:, :10]
    approximate = np.argsort(-queries @ loaded.vectors.T, axis=1)[:, :10]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(exact, approximate, strict=True)]
    assert np.mean(shared) > 0.95
    assert loaded.content_hash == index.content_hash


@settings(max_examples=15, deadline=None)
@given(old=st.integers(2, 20), new=st.integers(0, 10), seed=st.integers(0, 99))
def test_new_items_join_with_the_same_whitening_and_old_ones_stay(old: int, new: int, seed: int) -> None:
    index = make_index(old, 6, seed)
    added = embed(new, 6, seed + 1)
    longer = index.extend(ids(new, "new"), added)
    assert np.array_equal(longer.vectors[:old], index.vectors)
    assert np.allclose(longer.vectors[old:], index.whitening.apply(added), rtol=1e-3, atol=1e-3)
    assert longer.rows_of(ids(new, "new")).tolist() == list(range(old, old + new))
    assert (longer.content_hash == index.content_hash) == (new == 0)


def test_extending_with_a_known_id_or_another_width_is_refused() -> None:
    index = make_index()
    with pytest.raises(DataError, match="already"):
        index.extend([index.item_ids[3]], embed(1, 8, 0))
    with pytest.raises(DataError, match="width 8"):
        index.extend(["new"], embed(1, 9, 0))


def test_an_unknown_id_is_refused_without_naming_it() -> None:
    with pytest.raises(DataError, match="1 of 2") as caught:
        make_index().rows_of(["é項0", "secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 200, -1])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "index.safetensors"
    make_index().save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError) as caught:
        ItemIndex.load(path)
    assert "\n" not in str(caught.value)


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    make_index(rows=4, width=3).save(path)
    original = path.read_bytes()
    for place in range(0, len(original), 7):
        changed = bytearray(original)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises((DataError, VerificationError)) as caught:
            ItemIndex.load(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fedrec catalogue encode"):
        ItemIndex.load(tmp_path / "absent.safetensors")


def test_other_modalities_join_the_text_and_absent_rows_are_zero() -> None:
    text = np.array([[3.0, 4.0], [0.0, 2.0]])
    image = np.array([[0.0, 0.0, 5.0], [np.nan, np.nan, np.nan]])
    fused = fuse(text, {"image": image}, {"image": 0.5})
    assert np.allclose(fused, [[0.6, 0.8, 0, 0, 0.5], [0, 1, 0, 0, 0]])


def test_a_text_stays_at_the_mean_of_what_it_cannot_have() -> None:
    whitening = Whitening(
        np.array([0, 0, 5, 7], np.float32), np.eye(4, dtype=np.float32), np.array([1, 2, 3, 4], np.float32)
    )
    assert whitening.apply_to_texts([[1.0, 1.0]]).tolist() == [[1, 2, 0, 0]]
