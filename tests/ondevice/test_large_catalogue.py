"""A catalogue of 200,001 items: installed with its graph, and the lists are those of looking at everything."""

from pathlib import Path

import pytest

from fedrec.ondevice import releases
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.nearest import GRAPHS, LARGE
from fedrec.ondevice.rerank import Steering

from .device_worlds import NOW, a_device, a_release, a_world, an_event


@pytest.mark.slow
def test_a_large_catalogue_is_searched_by_its_graph_and_the_lists_are_the_same(tmp_path: Path) -> None:
    world = a_world(LARGE + 1, width=48, topics=300, ranks={"history_proj": 4})
    device = a_device(tmp_path / "device", a_release(tmp_path / "releases", world))
    assert len(list((device / GRAPHS).iterdir())) == 1
    engine = Engine.open(device, keys="file", now=lambda: NOW)
    for place in range(6):
        engine.record(an_event(f"i{place * 300 + 7}", time=NOW - 60 + place))
    proposed = engine.recommend(10)
    engine.close()
    for graph in (device / GRAPHS).iterdir():
        graph.unlink()
    engine = Engine.open(device, keys="file", now=lambda: NOW)
    exact = engine.recommend(10, steering=Steering())
    engine.close()
    assert len({item.item_id for item in proposed.items} & {item.item_id for item in exact.items}) >= 9
    assert releases.active(device).round == 0
