"""Releases come and go beneath an open engine: lists follow at once, and the history follows the items."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from fedrec.data.events import Kind
from fedrec.errors import DataError, RefusedError, VerificationError
from fedrec.ondevice import releases
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.release_choice import CURRENT
from fedrec.ondevice.rerank import Steering
from tests.ondevice.device_worlds import NOW, World, a_device, a_release, a_world, an_event

PLAIN = Steering(diversity=0.0)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return a_release(tmp_path / "published", a_world(), round_number=1)


@pytest.fixture
def engine(published: Path, tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(a_device(tmp_path / "device", published), keys="file", now=lambda: NOW) as engine:
        yield engine


def listed(engine: Engine, k: int = 10) -> list[str]:
    return [item.item_id for item in engine.recommend(k, steering=PLAIN).items]


def later(published: Path, world: World, *, round_number: int = 2) -> Path:
    return a_release(published.parent, world, round_number=round_number)


def test_the_next_list_is_the_new_releases(engine: Engine, published: Path) -> None:
    engine.record(an_event("i3"))
    before = engine.recommend(10)
    installed = engine.install_release(later(published, a_world(seed=1)))
    after = engine.recommend(10)
    assert engine.release == installed
    assert before.release != after.release == installed.id
    assert [item.score for item in after.items] != [item.score for item in before.items]


def test_rolling_back_brings_the_lists_of_before(engine: Engine, published: Path) -> None:
    engine.record(an_event("i3"))
    before = engine.recommend(10)
    engine.install_release(later(published, a_world(seed=1)))
    engine.roll_back()
    assert engine.recommend(10).items == before.items
    with pytest.raises(RefusedError, match="no earlier release"):
        engine.roll_back()


def test_events_of_an_item_that_vanished_are_kept_without_effect_until_it_is_back(
    engine: Engine, published: Path
) -> None:
    engine.record(an_event("i3"))
    engine.record(an_event("i59", time=NOW + 1))
    before = listed(engine)
    smaller = a_world(40, seed=0)
    engine.install_release(later(published, smaller))
    parts = engine.explain("i5").parts
    assert [part.event_id for part in parts if part.source == "history"] == [1]
    assert len(engine.store.events()) == 2
    with pytest.raises(DataError, match="no such item"):
        engine.explain("i59")
    engine.roll_back()
    assert listed(engine) == before


def test_a_history_follows_its_items_to_other_rows(engine: Engine, published: Path) -> None:
    engine.record(an_event("i3"))
    world = a_world()
    order = list(reversed(range(len(world))))
    moved = replace(
        world,
        index=replace(
            world.index,
            item_ids=tuple(world.index.item_ids[row] for row in order),
            vectors=world.index.vectors[order],
        ),
        titles=[world.titles[row] for row in order],
        categories=[world.categories[row] for row in order],
        ranks={"history_proj": 4},
        prior=None if world.prior is None else world.prior[order],
    )
    straight = replace(world, ranks={"history_proj": 4})
    engine.install_release(later(published, straight))
    before = listed(engine)
    engine.install_release(later(published, moved, round_number=2), by_person=True)
    assert listed(engine) == before
    assert engine.explain("i9").parts[0].because in {"you saved Title 3", "popular with others"}


def test_a_release_installed_by_another_process_is_noticed(engine: Engine, published: Path) -> None:
    engine.record(an_event("i3"))
    installed = releases.install(engine.device, later(published, a_world(seed=1)))
    assert engine.recommend(5).release == installed.id
    releases.roll_back(engine.device)
    assert engine.recommend(5).release != installed.id


def test_a_release_that_does_not_hold_leaves_the_engine_as_it_was(engine: Engine, published: Path) -> None:
    engine.record(an_event("i3"))
    before = engine.recommend(10)
    broken = later(published, a_world(seed=1))
    (broken / "index.int8.safetensors").write_bytes(b"something else")
    with pytest.raises(VerificationError):
        engine.install_release(broken)
    assert engine.recommend(10).items == before.items
    assert engine.recommend(10).release == before.release


def test_lists_are_whole_while_releases_are_switched(engine: Engine, published: Path) -> None:
    worlds = {1: a_world(), 2: a_world(50, seed=1), 3: a_world(70, seed=2)}
    paths = [later(published, world, round_number=number) for number, world in worlds.items()]
    known = {
        path.name.split("-")[1]: set(world.index.item_ids) for path, world in zip(paths, worlds.values(), strict=True)
    }
    known[engine.release.id] = set(worlds[1].index.item_ids)
    engine.record(an_event("i3"))
    faults: list[BaseException] = []
    done = False

    def ask() -> None:
        place = 0
        try:
            while not done:
                place += 1
                engine.record(an_event(f"i{place % 45}", Kind.VIEW, time=NOW + place))
                found = engine.recommend(5)
                assert len(found.items) == 5
                assert {item.item_id for item in found.items} <= known[found.release]
        except BaseException as fault:
            faults.append(fault)

    threads = [Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for path in [*paths, *reversed(paths), *paths]:
        engine.install_release(path, by_person=True)
    done = True
    for thread in threads:
        thread.join()
    assert not faults


def test_a_device_without_a_release_says_what_to_do(tmp_path: Path, published: Path) -> None:
    device = a_device(tmp_path / "bare", published)
    (device / CURRENT).unlink()
    with pytest.raises(DataError, match="holds no release"):
        Engine.open(device, keys="file")
