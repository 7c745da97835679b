"""Items added on the device: recommendable at once by their text, over restarts and releases."""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.errors import DataError, FedrecError
from fedrec.model.onnx_encoder import MODEL_FILE
from fedrec.ondevice import rights
from fedrec.ondevice.additions import ADDITIONS, FILE
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.rerank import NEW, Steering
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_text_world, a_world, an_event

PLAIN = Steering(diversity=0.0)
BOAT = Item(item_id="boat", title="sail anchor", category="topic 0", provider="a new maker")
STEW = Item(item_id="stew", title="bread spice", category="a new topic")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return a_release(tmp_path / "published", a_text_world(tmp_path / "encoder"), round_number=1)


@pytest.fixture
def device(published: Path, tmp_path: Path) -> Path:
    return a_device(tmp_path / "device", published)


@pytest.fixture
def engine(device: Path) -> Iterator[Engine]:
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        yield engine


def sailor(engine: Engine) -> None:
    """Somebody who likes what is about the sea."""
    for row in (0, 4, 8):
        engine.record(an_event(f"i{row}", time=NOW + row))


def first_ids(engine: Engine, k: int = 5) -> list[str]:
    return [item.item_id for item in engine.recommend(k, steering=PLAIN).items]


def test_a_new_item_is_recommendable_at_once_by_its_text(engine: Engine) -> None:
    sailor(engine)
    assert "boat" not in first_ids(engine)
    engine.add_items([BOAT, STEW])
    listed = {item.item_id: item for item in engine.recommend(8, steering=PLAIN).items}
    assert listed["boat"].placed == NEW
    assert (listed["boat"].title, listed["boat"].category, listed["boat"].provider) == (
        "sail anchor",
        "topic 0",
        "a new maker",
    )
    assert "stew" not in listed


def test_an_item_of_the_release_scores_as_it_does_when_added(engine: Engine) -> None:
    sailor(engine)
    twin = engine.catalogue.item(12)
    engine.add_items([Item(item_id="twin", title=twin.title)])
    added, released = engine.explain("twin"), engine.explain(twin.item_id)
    popularity = sum(part.contribution for part in released.parts if part.source == "popularity")
    # What is left is the rounding of the release's vectors to int8.
    assert added.score == pytest.approx(released.score - popularity, abs=0.05)


def test_additions_survive_a_restart_without_the_encoder_being_loaded(device: Path) -> None:
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        engine.add_items([BOAT])
        sailor(engine)
        before = engine.recommend(10).items
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        assert engine.recommend(10).items == before
        assert "_session" not in vars(engine._loaded.released.encoder)


def test_an_event_of_an_item_counts_from_when_it_is_added(engine: Engine) -> None:
    engine.record(an_event("boat"))
    stranger = first_ids(engine)
    engine.add_items([BOAT])
    assert first_ids(engine) != stranger
    assert "boat" not in first_ids(engine, 40)


def test_adding_an_item_again_gives_it_its_new_text(engine: Engine) -> None:
    sailor(engine)
    engine.add_items([BOAT, STEW])
    engine.add_items([replace(STEW, title="harbour wave")])
    assert len(engine.catalogue) == 42
    assert {"boat", "stew"} <= set(first_ids(engine, 8))


def test_additions_follow_a_release_with_another_index(engine: Engine, published: Path, tmp_path: Path) -> None:
    sailor(engine)
    engine.add_items([BOAT, STEW])
    larger = a_text_world(tmp_path / "encoder", 60)
    engine.install_release(a_release(published.parent, larger, round_number=2))
    assert len(engine.catalogue) == 62
    assert "boat" in first_ids(engine, 8)


def test_additions_follow_a_release_with_another_encoder(engine: Engine, published: Path, tmp_path: Path) -> None:
    sailor(engine)
    engine.add_items([BOAT, STEW])
    other = a_text_world(tmp_path / "other", digest="f" * 64, seed=5)
    engine.install_release(a_release(published.parent, other, round_number=2))
    assert "boat" in first_ids(engine, 8)
    engine.roll_back()
    assert "boat" in first_ids(engine, 8)


def test_a_release_that_brings_an_added_item_takes_its_place_until_it_is_rolled_back(
    engine: Engine, published: Path, tmp_path: Path
) -> None:
    engine.add_items([replace(BOAT, item_id="i40"), STEW])
    engine.install_release(a_release(published.parent, a_text_world(tmp_path / "encoder", 41), round_number=2))
    assert engine.catalogue.item(40).title != BOAT.title
    assert len(engine.catalogue) == 42
    engine.roll_back()
    assert engine.catalogue.item(40).title == BOAT.title


def test_a_release_without_an_encoder_lets_additions_wait(engine: Engine, published: Path) -> None:
    engine.add_items([BOAT])
    silent = replace(a_world(30, width=16), ranks={})
    wordless = replace(silent, index=replace(silent.index, encoder_hash="0" * 64))
    engine.install_release(a_release(published.parent, replace(wordless, ranks={"history_proj": 4}), round_number=2))
    assert len(engine.catalogue) == 30
    with pytest.raises(DataError, match="no text encoder"):
        engine.add_items([STEW])
    engine.roll_back()
    assert len(engine.catalogue) == 41


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([BOAT, BOAT], "come twice"),
        ([replace(BOAT, title="", text=None)], "neither a title nor a text"),
        ([replace(BOAT, item_id="")], "lacks its id"),
        ([BOAT, replace(BOAT, item_id="i3")], "in the release already"),
    ],
)
def test_items_that_cannot_be_added_are_refused_and_nothing_is_kept(
    engine: Engine, device: Path, items: list[Item], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        engine.add_items(items)
    assert len(engine.catalogue) == 40
    assert not (device / ADDITIONS / FILE).exists()


def test_a_file_of_additions_that_cannot_be_read_says_what_to_do(device: Path) -> None:
    (device / ADDITIONS).mkdir()
    (device / ADDITIONS / FILE).write_bytes(b"not a table")
    with pytest.raises(DataError, match="Remove it"):
        Engine.open(device, keys="file")


def test_an_encoder_that_fails_lets_additions_wait(engine: Engine, published: Path, tmp_path: Path) -> None:
    engine.add_items([BOAT])
    broken = a_text_world(tmp_path / "broken", digest="f" * 64, seed=5)
    (tmp_path / "broken" / MODEL_FILE).write_bytes(b"no model")
    engine.install_release(a_release(published.parent, broken, round_number=2))
    assert len(engine.catalogue) == 40
    engine.roll_back()
    assert len(engine.catalogue) == 41


# Which items were added on a device can tell of a person.


def test_only_the_owner_reads_what_was_added(engine: Engine, device: Path) -> None:
    engine.add_items([BOAT])
    assert stat.S_IMODE((device / ADDITIONS / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((device / ADDITIONS).stat().st_mode) == 0o700


def test_an_export_names_what_was_added(engine: Engine) -> None:
    assert engine.export()["added_items"] == []
    engine.add_items([BOAT, STEW])
    assert engine.export()["added_items"] == [
        {"item_id": "boat", "title": "sail anchor"},
        {"item_id": "stew", "title": "bread spice"},
    ]


def test_an_erasure_takes_what_was_added_with_it(engine: Engine, device: Path) -> None:
    sailor(engine)
    engine.add_items([BOAT])
    (device / ADDITIONS / f".{FILE}.cut-short").write_bytes(b"half a boat")
    engine.erase()
    assert not (device / ADDITIONS).exists()
    assert len(engine.catalogue) == 40
    assert engine.export()["added_items"] == []
    engine.add_items([STEW])
    assert [item["item_id"] for item in engine.export()["added_items"]] == ["stew"]


def test_an_erasure_that_is_cut_short_has_taken_what_was_added(engine: Engine, device: Path) -> None:
    engine.add_items([BOAT])
    # Whatever goes wrong in the store: it goes on erasing at its next opening, and knows of no additions.
    engine.store.close()
    with pytest.raises(FedrecError):
        engine.erase()
    assert not (device / ADDITIONS).exists()


def test_an_erasure_by_another_process_is_noticed(engine: Engine, device: Path) -> None:
    engine.add_items([BOAT])
    with Store.open(device, keys="file") as store:
        rights.erase(device, store)
    assert len(engine.recommend(41).items) == 40
    engine.add_items([STEW])
    assert [item["item_id"] for item in engine.export()["added_items"]] == ["stew"]


def test_an_item_that_another_process_adds_is_noticed(engine: Engine, device: Path) -> None:
    with Engine.open(device, keys="file", now=lambda: NOW) as other:
        other.add_items([BOAT])
    assert len(engine.recommend(41).items) == 41
