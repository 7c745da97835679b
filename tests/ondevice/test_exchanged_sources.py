"""Installing from a folder that others can write to: nothing outside it is read, changed, or waited for."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedrec.errors import VerificationError
from fedrec.model.linear import ADAPTER_FILE, PRIOR_FILE
from fedrec.ondevice import releases
from fedrec.release import MANIFEST, SIGNATURE

from .device_worlds import a_device, a_release, a_world


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return a_release(tmp_path / "published", a_world(30))


@pytest.fixture
def device(tmp_path: Path, source: Path) -> Path:
    a_device(tmp_path / "device", source)
    return tmp_path / "device"


@pytest.fixture
def newer(source: Path) -> Path:
    return a_release(source.parent, a_world(30), round_number=1)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A file of the same person that only they may read."""
    path = tmp_path / "notes"
    path.write_text("mine")
    path.chmod(0o600)
    return path


def linked(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def test_a_file_that_becomes_a_link_while_it_is_copied_leaves_its_target_alone(
    device: Path, newer: Path, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_mode = os.fchmod

    def exchange(handle: int, mode: int) -> None:
        # Asked after each file: what is copied later is a link by then.
        for name in (PRIOR_FILE, SIGNATURE):
            if not (newer / name).is_symlink():
                linked(newer / name, private)
        change_mode(handle, mode)

    monkeypatch.setattr(os, "fchmod", exchange)
    with pytest.raises(VerificationError, match="was changed while it was copied"):
        releases.install(device, newer)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert releases.active(device).round == 0


def test_a_file_that_grows_while_it_is_copied_is_not_copied_for_ever(
    device: Path, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(*_: object) -> None:
        # Sparse: it takes no room here, and would take all of it as a copy.
        os.truncate(newer / MANIFEST, 1 << 40)

    monkeypatch.setattr(os, "fchmod", exchange)
    with pytest.raises(VerificationError, match="was changed while it was copied"):
        releases.install(device, newer)


def endless(path: Path) -> None:
    linked(path, Path("/dev/zero"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
@pytest.mark.parametrize("spoil", [endless, pipe, huge])
def test_what_nobody_vouches_for_is_read_up_to_its_limit_and_never_waited_for(
    device: Path, newer: Path, spoil: Callable[[Path], None], name: str
) -> None:
    spoil(newer / name)
    began = time.monotonic()
    with pytest.raises(VerificationError, match="cannot be read"):
        releases.install(device, newer)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("spoil", [endless, pipe])
def test_a_file_that_is_none_is_refused_at_once(device: Path, newer: Path, spoil: Callable[[Path], None]) -> None:
    spoil(newer / ADAPTER_FILE)
    with pytest.raises(VerificationError, match="missing or changed"):
        releases.install(device, newer)
