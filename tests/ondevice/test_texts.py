"""What the person writes counts, is encoded once, and is only ever kept in the encrypted store."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.events import Kind
from fedrec.data.sequences import Floats
from fedrec.errors import DataError
from fedrec.model.item_index import Whitening
from fedrec.ondevice.context import Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.texts import TextVectors
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_text_world, a_world, an_event

PLAIN = Steering(diversity=0.0)
WHITENING = Whitening(np.zeros(4, np.float32), np.eye(4, dtype=np.float32), np.ones(4, np.float32))


class Counting:
    """An encoder that knows what it was asked."""

    hash = "h"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        return np.array([[len(text), 1, 0, 0] for text in texts], dtype=np.float32)


class Kept:
    """A cache in memory."""

    def __init__(self) -> None:
        self.found: dict[int, Floats] = {}

    def set_vector(self, event_id: int, encoder_hash: str, vector: Floats) -> None:
        assert encoder_hash == "h"
        self.found[event_id] = vector

    def vectors(self, encoder_hash: str, events: Sequence[int]) -> dict[int, Floats]:
        assert encoder_hash == "h"
        return {number: self.found[number] for number in events if number in self.found}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    release = a_release(tmp_path / "published", a_text_world(tmp_path / "encoder"))
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        yield engine


def topics(engine: Engine, **options: object) -> list[str | None]:
    return [item.category for item in engine.recommend(5, steering=PLAIN, **options).items]  # type: ignore[arg-type]


def test_a_search_counts_in_the_next_list(engine: Engine) -> None:
    engine.record(an_event(None, Kind.SEARCH, text="rocket moon"))
    assert topics(engine) == ["topic 2"] * 5


def test_a_comment_counts_by_what_it_says_and_not_by_its_item(engine: Engine) -> None:
    engine.record(an_event("i0", Kind.COMMENT, text="bread and butter"))
    assert topics(engine) == ["topic 1"] * 5


def test_a_wish_in_words_counts_for_one_call(engine: Engine) -> None:
    engine.record(an_event("i0"))
    before = topics(engine)
    asked = engine.recommend(5, steering=PLAIN, context=Context(text="summit tent"))
    assert asked.items[0].category == "topic 3"
    assert asked.items[0].reasons[0].because == "you are asking for “summit tent”"
    assert asked.items[0].reasons[0].source == "context"
    assert topics(engine) == before


def test_a_search_is_quoted_to_the_person_who_made_it(engine: Engine) -> None:
    number = engine.record(an_event(None, Kind.SEARCH, text="rocket\n moon"))
    reason = engine.recommend(1).items[0].reasons[0]
    assert (reason.because, reason.source, reason.event_id) == ("you searched for “rocket moon”", "search", number)


def test_each_text_is_encoded_once_and_for_all() -> None:
    encoder, cache = Counting(), Kept()
    said = {3: "three", 5: "fives!"}
    TextVectors(cache, encoder, WHITENING).of_events([3, 5], said.__getitem__)
    again = TextVectors(cache, encoder, WHITENING)
    vectors = again.of_events([5, 3, 5], said.__getitem__)
    again.of_events([3], said.__getitem__)
    assert encoder.asked == ["three", "fives!"]
    assert vectors[:, 0].tolist() == [6, 5, 6]


def test_texts_are_not_encoded_again_after_a_restart(engine: Engine) -> None:
    engine.record(an_event(None, Kind.SEARCH, text="rocket moon"))
    before = engine.recommend(5).items
    engine.close()
    with Engine.open(engine.device, keys="file", now=lambda: NOW) as again:
        assert again.recommend(5).items == before
        assert "_session" not in vars(again._loaded.released.encoder)


def test_the_libraries_of_the_encoder_wait_for_the_first_text(tmp_path: Path) -> None:
    release = a_release(tmp_path / "published", a_text_world(tmp_path / "encoder"))
    device = a_device(tmp_path / "device", release)
    program = f"""
import sys
from pathlib import Path
from fedrec.data.events import Event, Kind
from fedrec.ondevice.engine import Engine
with Engine.open(Path({str(device)!r}), keys="file") as engine:
    engine.record(Event(user_id="me", item_id="i3", timestamp=1, kind=Kind.SAVE))
    engine.recommend(5)
    engine.profile()
    heavy = {{"onnxruntime", "tokenizers", "torch", "polars", "scipy", "usearch", "fastapi"}}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    engine.record(Event(user_id="me", item_id=None, timestamp=2, kind=Kind.SEARCH, text="rocket"))
    engine.recommend(5)
    assert "onnxruntime" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_an_encoder_a_search_is_kept_without_effect(tmp_path: Path) -> None:
    release = a_release(tmp_path / "published", a_world())
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        engine.record(an_event("i3"))
        before = engine.recommend(5).items
        number = engine.record(an_event(None, Kind.SEARCH, text="rocket moon", time=NOW + 1))
        assert engine.recommend(5).items == before
        assert engine.store.event(number) is not None
        with pytest.raises(DataError, match="no text encoder"):
            engine.recommend(5, context=Context(text="rocket"))


def test_nothing_that_was_written_is_in_a_file_in_clear(engine: Engine) -> None:
    engine.record(an_event(None, Kind.SEARCH, text="rocket moon"))
    engine.recommend(5, context=Context(text="kettle"))
    engine.explain("i2", context=Context(text="kettle"))
    engine.close()
    private = [path for path in engine.device.rglob("*") if path.is_file() and "releases" not in path.parts]
    assert private
    for path in private:
        content = path.read_bytes()
        assert b"rocket moon" not in content
        assert b"kettle" not in content
