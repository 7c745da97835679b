"""Releases that are signed and do not work: each is refused in one line, and the old release goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedrec.errors import VerificationError
from fedrec.model.catalogue_file import CATALOGUE
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.linear import ADAPTER_FILE, PRIOR_FILE
from fedrec.ondevice import releases
from fedrec.ondevice.engine import Engine
from fedrec.release import hash_file

from .device_worlds import World, a_device, a_release, a_world, signed_again

Table = dict[str, Any]


@pytest.fixture(scope="module")
def world() -> World:
    return a_world(30)


@pytest.fixture
def device(tmp_path: Path, world: World) -> Path:
    return a_device(tmp_path / "device", a_release(tmp_path / "published", world))


@pytest.fixture
def newer(tmp_path: Path, world: World) -> Path:
    """A release that an update takes, and that a test may spoil."""
    return a_release(tmp_path / "published", world, round_number=1)


def signed_with(release: Path, change: Callable[[Table], object] | None = None) -> None:
    """Sign what the folder holds now, after a change of the manifest."""

    def rehashed(manifest: Table) -> None:
        manifest["files"] = {name: hash_file(release / name) for name in manifest["files"]}
        if change:
            change(manifest)

    signed_again(release, release.parent / "signing.key", rehashed)


def refused(device: Path, release: Path) -> str:
    """The one line with which an update is refused, with everything as it was before."""
    with pytest.raises(VerificationError) as told:
        releases.install(device, release)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600
    with Engine.open(device, keys="file") as engine:
        assert engine.release.round == 0
        assert len(engine.recommend(3).items) == 3
    assert [each.name for each in (device / releases.RELEASES).iterdir()] == [engine.release.folder.name]
    return str(told.value)


LINEAGES: dict[str, Callable[[Table], object]] = {
    "no data": lambda lineage: lineage.pop("data"),
    "data of another type": lambda lineage: lineage.update(data=[1]),
    "weights of another type": lambda lineage: lineage.update(data={"kind_weights": "heavy"}),
    "an unknown kind": lambda lineage: lineage.update(data={"kind_weights": {"stare": 1.0}}),
    "an infinite weight": lambda lineage: lineage.update(data={"kind_weights": {"like": 1e400}}),
    "a weight beyond 32 bits": lambda lineage: lineage.update(data={"kind_weights": {"like": 1e300}}),
    "a positive that is none": lambda lineage: lineage.update(data={"positive_kinds": ["hide"]}),
    "no layout": lambda lineage: lineage.pop("layout"),
    "a layout of another type": lambda lineage: lineage.update(layout=5),
    "no model": lambda lineage: lineage.pop("model"),
    "a model of another type": lambda lineage: lineage.update(model=[]),
    "tensors of another type": lambda lineage: lineage.update(tensors=7),
    "a tensor of another module": lambda lineage: lineage.update(tensors=[["a.lora_B.w", [3, 4]]]),
    "a tensor without a module": lambda lineage: lineage.update(tensors=[["w", [3, 4]]]),
    "a tensor of another shape": lambda lineage: lineage["tensors"][0].__setitem__(1, [2, 2]),
    "a tensor of endless shape": lambda lineage: lineage["tensors"][0].__setitem__(1, [10**30]),
    "a tensor of less than nothing": lambda lineage: lineage["tensors"][0].__setitem__(1, [-5, 1]),
}


@pytest.mark.parametrize("name", LINEAGES)
def test_an_odd_lineage_is_refused(device: Path, newer: Path, name: str) -> None:
    signed_with(newer, lambda manifest: LINEAGES[name](manifest["lineage"]))
    said = refused(device, newer)
    assert "stare" not in said
    assert "heavy" not in said


def priors_of(value: float) -> Callable[[Path, World], None]:
    def spoil(release: Path, world: World) -> None:
        prior = np.full(len(world), value, np.float32)
        save_file({"prior": prior}, release / PRIOR_FILE)
        frozen = frozen_hash(world.config, world.index.content_hash, prior)
        signed_with(release, lambda manifest: manifest["lineage"].update(base_model=frozen))

    return spoil


def adapter(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path, World], None]:
    def spoil(release: Path, _: World) -> None:
        save_file(change(load_file(release / ADAPTER_FILE)), release / ADAPTER_FILE)
        signed_with(release)

    return spoil


def undecodable(release: Path, _: World) -> None:
    content = (release / CATALOGUE).read_bytes()
    (release / CATALOGUE).write_bytes(content.replace(b"Title 5", b"\xff\xfetle 5"))
    signed_with(release)


def endless_name(release: Path, _: World) -> None:
    signed_with(release, lambda manifest: manifest["files"].update({"a" * 5000: "0" * 64}))


def half(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if "lora_A" in name}


CONTENTS: dict[str, Callable[[Path, World], None]] = {
    "a prior that is no number": priors_of(np.nan),
    "a prior beyond all scores": priors_of(3e38),
    "an adapter that overflows": adapter(lambda tensors: {name: np.full_like(t, 1e30) for name, t in tensors.items()}),
    "half an adapter": adapter(half),
    "an adapter of vectors": adapter(lambda tensors: {name: tensor[0].copy() for name, tensor in tensors.items()}),
    "a title that is no text": undecodable,
    "a file name of 5,000 characters": endless_name,
}


@pytest.mark.parametrize("name", CONTENTS)
def test_odd_content_is_refused(device: Path, newer: Path, world: World, name: str) -> None:
    CONTENTS[name](newer, world)
    refused(device, newer)


# What has the same name.


def test_a_release_of_the_same_id_and_round_is_the_one_that_was_asked_for(
    device: Path, tmp_path: Path, world: World
) -> None:
    (tmp_path / "other").mkdir()
    for name in ("signing.key", "signing.pub"):
        (tmp_path / "other" / name).write_bytes((tmp_path / "published" / name).read_bytes())
    first = releases.active(device)
    twin = a_release(tmp_path / "other", world, run="run-2")
    found = releases.install(device, twin, by_person=True)
    assert (found.id, found.round, found.run) == (first.id, first.round, "run-2")
    assert releases.active(device) == found
    assert releases.roll_back(device) == first


def test_an_id_that_is_not_that_of_the_files_is_refused(device: Path, newer: Path) -> None:
    signed_with(newer, lambda manifest: manifest.update(id=releases.active(device).id))
    assert "id is not that of its files" in refused(device, newer)
