import json
from pathlib import Path

import pytest

from fedrec.errors import ConfigError
from fedrec.model.encoder_cache import place_exported_encoder
from fedrec.model.onnx_encoder import FACTS_FILE, MODEL_FILE, OnnxEncoder
from fedrec.model.text_encoder import TextEncoder
from tests.small_worlds import TITLES

# Every test makes or copies an export of a real language model.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(cache))


@pytest.fixture
def placed(little_bert: TextEncoder, tmp_path: Path) -> Path:
    place_exported_encoder(little_bert, tmp_path / "encoder", TITLES)
    return tmp_path / "encoder"


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "encoders").iterdir())


def test_an_encoder_is_exported_once_and_copied_from_then_on(
    placed: Path, little_bert: TextEncoder, cache: Path, tmp_path: Path
) -> None:
    (folder,) = kept(cache)
    # A mark in what is kept, so that a copy can be told from a new export.
    facts = json.loads((folder / FACTS_FILE).read_text()) | {"mark": 1}
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    place_exported_encoder(little_bert, tmp_path / "again", TITLES)
    assert json.loads((tmp_path / "again" / FACTS_FILE).read_text())["mark"] == 1
    assert (tmp_path / "again" / MODEL_FILE).read_bytes() == (placed / MODEL_FILE).read_bytes()
    assert len(kept(cache)) == 1
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o755


def test_a_release_never_shares_a_file_with_the_cache(placed: Path, cache: Path) -> None:
    (folder,) = kept(cache)
    assert (folder / MODEL_FILE).stat().st_ino != (placed / MODEL_FILE).stat().st_ino


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"not a model"])
def test_a_damaged_export_is_made_again(
    placed: Path, little_bert: TextEncoder, cache: Path, tmp_path: Path, damage: bytes
) -> None:
    (folder,) = kept(cache)
    (folder / MODEL_FILE).write_bytes(damage)
    place_exported_encoder(little_bert, tmp_path / "again", TITLES)
    assert OnnxEncoder.open(tmp_path / "again").encode(["red boat"]).shape == (1, 32)
    assert (folder / MODEL_FILE).stat().st_size == (placed / MODEL_FILE).stat().st_size


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_done_without(
    little_bert: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path / "file"))
    place_exported_encoder(little_bert, tmp_path / "encoder", TITLES)
    assert OnnxEncoder.open(tmp_path / "encoder").encode(["red boat"]).shape == (1, 32)
    assert "could not be kept" in caplog.text


def test_nothing_is_left_of_an_export_that_failed(tmp_path: Path, little_bert: TextEncoder, cache: Path) -> None:
    before = kept(cache)
    odd = TextEncoder(little_bert.path, "odd", "1" * 64)
    odd.model.tokenizer.padding_side = "left"
    with pytest.raises(ConfigError):
        place_exported_encoder(odd, tmp_path / "encoder", TITLES)
    assert list(tmp_path.iterdir()) == []
    assert kept(cache) == before
