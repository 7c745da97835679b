import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fedrec.data.dataset import Dataset, DatasetWriter
from fedrec.errors import ConfigError, LayoutError, VerificationError
from fedrec.model.catalogue_index import encode_queries, index_for, warn_about_unknown_words
from fedrec.model.item_index import build_index
from fedrec.model.text_encoder import (
    PACKAGED_SHA256,
    TextEncoder,
    UnknownWordsWarning,
    default_encoder_path,
    verify_weights,
)

ENGLISH = [
    "A field guide to garden birds",
    "Birdwatching by the sea",
    "Baking sourdough bread at home",
    "Cakes and pastries for beginners",
    "The night sky through a small telescope",
    "Galaxies, nebulae and where to find them",
    "Repairing vintage motorcycles",
    "A history of steam locomotives, with many photographs of engines at work",
]
CHINESE = ["流浪地球", "霸王别姬", "大话西游之月光宝盒", "我不是药神", "让子弹飞", "无间道", "庆余年", "琅琊榜"]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.open()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    with DatasetWriter(tmp_path / "data") as writer:
        writer.set_catalogue(pl.DataFrame({"item_id": [f"i{row}" for row in range(8)], "text": ENGLISH}))
        writer.add_events(pl.DataFrame({"user_id": ["u"], "item_id": ["i0"], "timestamp": [1], "kind": ["view"]}))
        writer.commit(source="test", licence="none", importer="test")
    return Dataset.open(tmp_path / "data")


def test_related_texts_are_nearest_and_vectors_have_norm_one(encoder: TextEncoder) -> None:
    vectors = encoder.encode(ENGLISH)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T - 2 * np.eye(8)
    assert likeness.argmax(axis=1)[:6].tolist() == [1, 0, 3, 2, 5, 4]


def test_the_order_of_the_texts_is_kept_whatever_their_length(encoder: TextEncoder) -> None:
    forward, backward = encoder.encode(ENGLISH), encoder.encode(ENGLISH[::-1])
    assert np.allclose(forward, backward[::-1], atol=1e-5)


def test_no_texts_give_no_rows(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_a_second_run_reads_the_cache_and_a_corrupt_one_is_computed_again(encoder: TextEncoder, tmp_path: Path) -> None:
    first = encoder.encode(ENGLISH[:3])
    (file,) = (tmp_path / "cache" / "embeddings").iterdir()
    stored = bytearray(file.read_bytes())
    assert np.array_equal(encoder.encode(ENGLISH[:3]), first)
    for damage in (stored[:-100], stored[:-1] + bytes([stored[-1] ^ 1]), b"not a cache"):
        file.write_bytes(damage)
        assert np.array_equal(encoder.encode(ENGLISH[:3]), first)
        assert file.read_bytes() == stored


def test_private_texts_leave_no_trace_in_the_cache(encoder: TextEncoder, dataset: Dataset, tmp_path: Path) -> None:
    index = index_for(dataset, encoder)
    before = list((tmp_path / "cache" / "embeddings").iterdir())
    queries = encode_queries(encoder, index, ["birds in my garden", "cake"])
    assert list((tmp_path / "cache" / "embeddings").iterdir()) == before
    assert (queries @ index.vectors.T).argmax(axis=1).tolist() == [0, 3]
    assert encode_queries(encoder, index, []).shape == (0, 384)


def test_progress_ends_at_the_number_of_texts(encoder: TextEncoder) -> None:
    for _ in ("computed", "cached"):
        calls: list[tuple[int, int]] = []
        encoder.encode(ENGLISH, lambda done, total, calls=calls: calls.append((done, total)))
        assert calls[-1] == (8, 8)


def test_the_packaged_weights_are_what_they_claim_to_be() -> None:
    verify_weights(default_encoder_path(), PACKAGED_SHA256)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(VerificationError, match="Install the encoder again"):
        verify_weights(tmp_path, PACKAGED_SHA256)


def test_a_local_folder_is_named_by_its_weights() -> None:
    assert TextEncoder.open(default_encoder_path()).hash == PACKAGED_SHA256


def test_a_hub_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="never downloaded"):
        TextEncoder.open("sentence-transformers/all-MiniLM-L6-v2")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no encoder"):
        TextEncoder.open(tmp_path)


def test_a_folder_that_is_no_encoder_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ConfigError) as caught:
        TextEncoder.open(folder).encode(["a text"])
    assert "\n" not in str(caught.value)


def test_chinese_titles_warn_under_an_english_model(encoder: TextEncoder) -> None:
    assert encoder.unknown_word_share(CHINESE) > 0.5
    with pytest.warns(UnknownWordsWarning, match="does not know"):
        warn_about_unknown_words(encoder, CHINESE)


def test_english_titles_do_not_warn(encoder: TextEncoder) -> None:
    assert encoder.unknown_word_share(ENGLISH) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_unknown_words(encoder, ENGLISH)


def test_texts_without_words_have_no_unknown_ones(encoder: TextEncoder) -> None:
    assert encoder.unknown_word_share(["", "?!", " "]) == 0


def test_an_index_of_another_encoder_is_refused(encoder: TextEncoder) -> None:
    index = build_index(np.eye(3), ["a", "b", "c"], encoder_name="other", encoder_hash="0" * 64)
    with pytest.raises(LayoutError, match="made by other"):
        encode_queries(encoder, index, ["a text"])


def test_vectors_of_other_modalities_join_the_index(encoder: TextEncoder, tmp_path: Path) -> None:
    pictures = [[1.0, 0.0], [0.0, 1.0], None, [1.0, 1.0], None, None, [2.0, 0.5], [0.0, 3.0]]
    with DatasetWriter(tmp_path / "data") as writer:
        writer.set_catalogue(
            pl.DataFrame({"item_id": [f"i{row}" for row in range(8)], "text": ENGLISH, "vector_image": pictures})
        )
        writer.add_events(pl.DataFrame({"user_id": ["u"], "item_id": ["i0"], "timestamp": [1], "kind": ["view"]}))
        writer.commit(source="test", licence="none", importer="test")
    index = index_for(Dataset.open(tmp_path / "data"), encoder)
    assert index.width == 386
    assert encode_queries(encoder, index, ["birds"]).shape == (1, 386)
