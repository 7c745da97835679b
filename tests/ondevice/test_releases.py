"""Installing, switching and going back; most of all what must not be installed."""

import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import DataError, FedrecError, RefusedError, VerificationError
from fedrec.model.device_index import DEVICE_INDEX
from fedrec.ondevice import releases
from fedrec.ondevice.release_choice import CURRENT
from fedrec.release import MANIFEST, SIGNATURE, hash_file, signing_key

from .device_worlds import World, a_release, a_world, signed_again


@pytest.fixture(scope="module")
def world() -> World:
    return a_world(30, width=8)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, world: World) -> list[Path]:
    """Rounds 0 to 4 of one run."""
    parent = tmp_path_factory.mktemp("published")
    return [a_release(parent, world, round_number=number) for number in range(5)]


@pytest.fixture
def device(tmp_path: Path, published: list[Path]) -> Path:
    """A device that trusts the signer and holds nothing yet."""
    releases.pin_signer(tmp_path / "device", published[0].parent / "signing.pub")
    return tmp_path / "device"


@pytest.fixture
def source(tmp_path: Path, published: list[Path]) -> Path:
    """A copy of round 1 that a test may spoil."""
    return Path(shutil.copytree(published[1], tmp_path / "source"))


def rounds(device: Path) -> list[int]:
    return [each.round for each in releases.installed(device)]


def left_behind(device: Path) -> list[str]:
    """Whatever is in the releases' folder and is no release that the device knows."""
    known = {each.folder.name for each in releases.installed(device)}
    return [path.name for path in (device / releases.RELEASES).iterdir() if path.name not in known]


# What works.


def test_an_installed_release_is_active_and_verified(device: Path, published: list[Path]) -> None:
    installed = releases.install(device, published[1])
    assert installed == releases.active(device)
    assert (installed.round, installed.run) == (1, "run-1")
    assert installed.folder.name.startswith(published[1].name)
    assert installed.folder.parent.parent == device
    assert left_behind(device) == []


def test_what_was_installed_does_not_hang_on_where_it_came_from(device: Path, source: Path) -> None:
    installed = releases.install(device, source)
    (source / DEVICE_INDEX).write_bytes(b"overwritten in place")
    shutil.rmtree(source)
    assert releases.active(device) == installed


def test_everybody_may_read_what_is_public_and_only_the_owner_may_write_it(device: Path, source: Path) -> None:
    (source / DEVICE_INDEX).chmod(0o666)
    (source / "adapter").chmod(0o777)
    folder = releases.install(device, source).folder
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert modes == {0o755, 0o644}


def test_a_new_round_takes_over_and_the_last_two_stay(device: Path, published: list[Path]) -> None:
    for release in published:
        releases.install(device, release)
    assert rounds(device) == [4, 3, 2]
    assert left_behind(device) == []


def test_the_active_release_may_be_installed_again(device: Path, published: list[Path]) -> None:
    releases.install(device, published[0])
    releases.install(device, published[1])
    before = (device / CURRENT).read_bytes()
    assert releases.install(device, published[1]).round == 1
    assert (device / CURRENT).read_bytes() == before


def test_rolling_back_goes_to_the_release_before(device: Path, published: list[Path]) -> None:
    for release in published[:3]:
        releases.install(device, release)
    assert releases.roll_back(device).round == 1
    assert releases.roll_back(device).round == 0
    assert releases.active(device).round == 0
    with pytest.raises(RefusedError, match="no earlier release"):
        releases.roll_back(device)


def test_no_update_brings_back_what_the_person_went_back_from(device: Path, published: list[Path]) -> None:
    releases.install(device, published[1])
    releases.install(device, published[2])
    releases.roll_back(device)
    with pytest.raises(RefusedError, match="rolled back from"):
        releases.install(device, published[2])
    assert releases.install(device, published[3]).round == 3
    assert releases.install(device, published[2], by_person=True).round == 2


def test_a_device_without_a_release_says_what_to_do(device: Path, tmp_path: Path, published: list[Path]) -> None:
    with pytest.raises(DataError, match="fedrec client init"):
        releases.active(device)
    assert releases.installed(device) == []
    with pytest.raises(DataError, match="trusts no signer"):
        releases.install(tmp_path / "other", published[0])


def test_a_signer_is_pinned_once(device: Path, published: list[Path], tmp_path: Path) -> None:
    releases.pin_signer(device, published[0].parent / "signing.pub")
    signing_key(tmp_path / "other.key")
    with pytest.raises(RefusedError, match="another signer"):
        releases.pin_signer(device, tmp_path / "other.pub")


def test_the_index_for_training_stays_behind(device: Path, source: Path, published: list[Path]) -> None:
    (source / "index.safetensors").write_bytes(b"float16 vectors")
    signed_again(
        source,
        published[0].parent / "signing.key",
        lambda manifest: manifest["files"].update({"index.safetensors": hash_file(source / "index.safetensors")}),  # type: ignore[attr-defined]
    )
    installed = releases.install(device, source)
    assert not (installed.folder / "index.safetensors").exists()
    (source / "index.safetensors").unlink()
    assert releases.install(device, source).folder == installed.folder


def test_large_files_that_the_device_holds_are_shared(tmp_path: Path) -> None:
    large = a_world(3000, width=384)
    paths = [a_release(tmp_path / "large", large, round_number=number) for number in range(2)]
    releases.pin_signer(tmp_path / "big", tmp_path / "large" / "signing.pub")
    one, other = (releases.install(tmp_path / "big", path).folder for path in paths)
    assert (one / DEVICE_INDEX).stat().st_ino == (other / DEVICE_INDEX).stat().st_ino
    assert (one / DEVICE_INDEX).stat().st_ino != (paths[0] / DEVICE_INDEX).stat().st_ino
    assert (one / "manifest.json").stat().st_ino != (other / "manifest.json").stat().st_ino


# What must not get in.


def add_a_file(source: Path) -> None:
    (source / "more.py").write_text("")


def link_a_file(source: Path) -> None:
    (source / "linked.safetensors").write_bytes((source / DEVICE_INDEX).read_bytes())
    (source / DEVICE_INDEX).unlink()
    (source / DEVICE_INDEX).symlink_to("linked.safetensors")


def link_a_file_out(source: Path) -> None:
    (source / DEVICE_INDEX).rename(source.parent / "elsewhere")
    (source / DEVICE_INDEX).symlink_to(source.parent / "elsewhere")


def link_a_folder_out(source: Path) -> None:
    (source / "adapter").rename(source.parent / "adapter-elsewhere")
    (source / "adapter").symlink_to(source.parent / "adapter-elsewhere")


def flip_a_byte(source: Path) -> None:
    content = bytearray((source / DEVICE_INDEX).read_bytes())
    content[len(content) // 2] ^= 1
    (source / DEVICE_INDEX).write_bytes(content)


def pipe(source: Path) -> None:
    (source / DEVICE_INDEX).unlink()
    os.mkfifo(source / DEVICE_INDEX)


SPOILED: dict[str, Callable[[Path], object]] = {
    "a changed byte": flip_a_byte,
    "a missing file": lambda source: (source / DEVICE_INDEX).unlink(),
    "a missing manifest": lambda source: (source / MANIFEST).unlink(),
    "a missing signature": lambda source: (source / SIGNATURE).unlink(),
    "a file that nobody signed": add_a_file,
    "a link to a file within": link_a_file,
    "a link to a file outside": link_a_file_out,
    "a link to a folder outside": link_a_folder_out,
    "a pipe": pipe,
    "an empty folder": lambda source: [shutil.rmtree(source), source.mkdir()],
    "nothing": shutil.rmtree,
    "an edited manifest": lambda source: (source / MANIFEST).write_text(
        (source / MANIFEST).read_text().replace('"round": 1', '"round": 9')
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_release_that_does_not_hold_changes_nothing(
    device: Path, source: Path, published: list[Path], name: str
) -> None:
    releases.install(device, published[0])
    SPOILED[name](source)
    with pytest.raises(VerificationError):
        releases.install(device, source, by_person=True)
    assert releases.active(device).round == 0
    assert left_behind(device) == []


def test_a_release_of_another_signer_is_refused(device: Path, source: Path, published: list[Path]) -> None:
    releases.install(device, published[0])
    content = (source / MANIFEST).read_bytes()
    (source / SIGNATURE).write_text(Ed25519PrivateKey.generate().sign(content).hex())
    with pytest.raises(VerificationError, match="not of this key"):
        releases.install(device, source, by_person=True)
    assert releases.active(device).round == 0


@pytest.mark.parametrize(
    "path", ["../outside", "/tmp/outside", "adapter/../../outside", "a//b", "./a", "", "a\\b", "C:b", "a\nb"]
)
def test_a_path_that_leaves_the_folder_is_refused_even_if_it_is_signed(
    device: Path, source: Path, published: list[Path], tmp_path: Path, path: str
) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    signed_again(
        source,
        published[0].parent / "signing.key",
        lambda manifest: manifest["files"].update({path: hash_file(tmp_path / "outside")}),  # type: ignore[attr-defined]
    )
    with pytest.raises(VerificationError, match="outside its folder"):
        releases.install(device, source)
    assert (tmp_path / "outside").read_bytes() == b"x"


@pytest.mark.parametrize(
    "lineage",
    [{"round": "../7"}, {"round": -1}, {"round": 10**300}, {"round": True}, {"round": None}, {"run": None}],
)
def test_a_signed_manifest_cannot_name_the_folder_that_it_is_kept_in(
    device: Path, source: Path, published: list[Path], lineage: dict[str, object]
) -> None:
    signed_again(source, published[0].parent / "signing.key", lambda manifest: manifest["lineage"].update(lineage))  # type: ignore[attr-defined]
    with pytest.raises(VerificationError, match="run or round"):
        releases.install(device, source)


@pytest.mark.parametrize("given", ["", "../../x", "0" * 16, "G" * 16, 7, None, ["a"]])
def test_a_signed_id_that_is_not_that_of_the_files_is_refused(
    device: Path, source: Path, published: list[Path], given: object
) -> None:
    signed_again(source, published[0].parent / "signing.key", lambda manifest: manifest.update(id=given))
    with pytest.raises(VerificationError, match="id is not that of its files"):
        releases.install(device, source)


@pytest.mark.parametrize("name", ["base_model", "index", "encoder"])
def test_parts_that_are_not_those_of_the_lineage_are_refused(
    device: Path, source: Path, published: list[Path], name: str
) -> None:
    signed_again(
        source, published[0].parent / "signing.key", lambda manifest: manifest["lineage"].update({name: "0" * 64})
    )  # type: ignore[attr-defined]
    with pytest.raises(VerificationError, match=f"`{name}` has hash"):
        releases.install(device, source)
    assert left_behind(device) == []


def test_a_release_of_the_text_tower_says_that_it_needs_another_machine(
    device: Path, source: Path, published: list[Path]
) -> None:
    signed_again(
        source,
        published[0].parent / "signing.key",
        lambda manifest: manifest["lineage"]["model"].update(tower="text"),  # type: ignore[index]
    )
    with pytest.raises(DataError, match="text tower"):
        releases.install(device, source)


def test_a_release_without_a_catalogue_was_not_made_for_devices(
    device: Path, source: Path, published: list[Path]
) -> None:
    (source / "catalogue.safetensors").unlink()
    signed_again(
        source,
        published[0].parent / "signing.key",
        lambda manifest: manifest["files"].pop("catalogue.safetensors"),  # type: ignore[attr-defined]
    )
    with pytest.raises(DataError, match="not published for devices"):
        releases.install(device, source)


def test_a_catalogue_of_other_items_is_refused(tmp_path: Path, world: World) -> None:
    other = a_world(30, width=8, first=100)
    mixed = a_release(tmp_path / "mixed", world)
    strange = a_release(tmp_path / "strange", other)
    shutil.copyfile(strange / "catalogue.safetensors", mixed / "catalogue.safetensors")
    signed_again(
        mixed,
        tmp_path / "mixed" / "signing.key",
        lambda manifest: manifest["files"].update(  # type: ignore[attr-defined]
            {"catalogue.safetensors": hash_file(mixed / "catalogue.safetensors")}
        ),
    )
    releases.pin_signer(tmp_path / "device", tmp_path / "mixed" / "signing.pub")
    with pytest.raises(DataError, match="name different items"):
        releases.install(tmp_path / "device", mixed)


@pytest.mark.parametrize("number", [0, 1])
def test_an_update_never_goes_back_a_round(device: Path, published: list[Path], number: int) -> None:
    releases.install(device, published[2])
    with pytest.raises(RefusedError, match="an update never goes back"):
        releases.install(device, published[number])
    assert releases.active(device).round == 2
    assert releases.install(device, published[number], by_person=True).round == number


def test_an_update_never_changes_to_another_release_of_the_same_round(
    device: Path, published: list[Path], world: World
) -> None:
    twin = a_release(published[0].parent, replace(world, moved=0.5), round_number=2)
    releases.install(device, published[2])
    with pytest.raises(RefusedError, match="an update never goes back"):
        releases.install(device, twin)


def test_an_update_never_changes_to_another_run(device: Path, published: list[Path], world: World) -> None:
    other = a_release(published[0].parent, replace(world, moved=0.9), round_number=9, run="run-2")
    releases.install(device, published[1])
    with pytest.raises(RefusedError, match="of another run"):
        releases.install(device, other)
    assert releases.install(device, other, by_person=True).run == "run-2"


# What is damaged later, and what is interrupted.


def test_a_release_that_was_changed_on_the_device_is_not_used(device: Path, published: list[Path]) -> None:
    folder = releases.install(device, published[0]).folder
    flip_a_byte(folder)
    with pytest.raises(VerificationError, match="missing or changed"):
        releases.active(device)
    assert releases.install(device, published[0]).round == 0
    assert releases.active(device).folder == folder


@pytest.mark.parametrize("lost", [MANIFEST, DEVICE_INDEX])
def test_a_damaged_release_does_not_keep_the_next_one_out(device: Path, published: list[Path], lost: str) -> None:
    (releases.install(device, published[1]).folder / lost).unlink()
    with pytest.raises(RefusedError, match="never goes back"):
        releases.install(device, published[0])
    assert releases.install(device, published[2]).round == 2
    with pytest.raises(VerificationError):
        releases.roll_back(device)
    assert releases.active(device).round == 2


def test_a_damaged_copy_is_not_shared_with_the_next_release(tmp_path: Path) -> None:
    large = a_world(3000, width=384)
    paths = [a_release(tmp_path / "large", large, round_number=number) for number in range(2)]
    device = tmp_path / "device"
    releases.pin_signer(device, tmp_path / "large" / "signing.pub")
    flip_a_byte(releases.install(device, paths[0]).folder)
    assert releases.install(device, paths[1]).round == 1
    assert releases.active(device).round == 1


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"active": "../x", "earlier": [], "set_aside": []}', "\xff"]
)
def test_a_damaged_note_of_what_is_active_is_said_and_never_guessed(
    device: Path, published: list[Path], content: str
) -> None:
    releases.install(device, published[0])
    (device / CURRENT).write_text(content)
    for ask in (releases.active, releases.installed, releases.roll_back):
        with pytest.raises(VerificationError, match="is damaged"):
            ask(device)


def test_a_full_disk_leaves_the_old_release_and_no_rubbish(
    device: Path, published: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.install(device, published[0])
    left = [2]

    def until_full(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        # Asked after each file, whose content is there by then.
        patch.setattr(os, "fchmod", until_full)
        with pytest.raises(DataError, match="No space left on device"):
            releases.install(device, published[1])
    assert releases.active(device).round == 0
    assert left_behind(device) == []
    assert releases.install(device, published[1]).round == 1


def test_a_source_that_is_exchanged_while_it_is_copied_is_refused(
    device: Path, source: Path, published: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(*_: object) -> None:
        for path in source.rglob("*.*"):
            path.write_bytes((published[2] / path.relative_to(source)).read_bytes())

    releases.install(device, published[0])
    # Asked after each file.
    monkeypatch.setattr(os, "fchmod", exchange)
    with pytest.raises(VerificationError, match="was changed while it was copied"):
        releases.install(device, source)
    assert left_behind(device) == []


def install_one(device: Path, source: Path) -> int | str:
    try:
        return releases.install(device, source).round
    except FedrecError as error:
        return type(error).__name__


def test_installs_at_once_come_one_after_the_other(device: Path, published: list[Path]) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        asked = [pool.submit(install_one, device, path) for path in [*published, *published]]
        found = [each.result(timeout=60) for each in asked]
    assert set(found) <= {0, 1, 2, 3, 4, "RefusedError"}
    assert 4 in found
    assert releases.active(device).round == 4
    assert left_behind(device) == []


def started_install(device: Path, release: Path) -> int:
    """The process that installs a release, and then ends."""
    child = os.fork()
    if not child:
        try:
            releases.install(device, release)
        finally:
            os._exit(0)
    return child


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_release_active_or_the_new(
    device: Path, published: list[Path], tmp_path: Path
) -> None:
    moments = random.Random(5)  # noqa: S311  # moments to kill at, not secrets
    whole = Path(shutil.copytree(device, tmp_path / "whole"))
    releases.install(whole, published[0])
    began = time.monotonic()
    os.waitpid(started_install(whole, published[1]), 0)
    # Kills fall before, within and after an install, however fast this machine is now, and a fork of this process.
    longest = 2 * (time.monotonic() - began)
    seen = set()
    for attempt in range(100):
        place = Path(shutil.copytree(device, tmp_path / f"device-{attempt}"))
        releases.install(place, published[0])
        child = started_install(place, published[1])
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.add(releases.active(place).round)
        assert releases.install(place, published[2]).round == 2
        assert left_behind(place) == []
    assert seen == {0, 1}
