"""The releases on a device: installed whole and verified, one of them active, and a way back.

`signer.pub` pins who may publish; `releases/` holds what was installed; `current` says
which is active and which were before. A power cut leaves the old release active or the new.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedrec.errors import DataError, RefusedError, VerificationError
from fedrec.files import write_atomically
from fedrec.model.device_index import DEVICE_INDEX, DeviceIndex
from fedrec.model.linear import LinearModel
from fedrec.ondevice.installed import Installed, folder_name
from fedrec.ondevice.nearest import GRAPHS, build_graph
from fedrec.ondevice.release_check import require_usable
from fedrec.ondevice.release_choice import Choice, read_choice, write_choice
from fedrec.ondevice.release_copy import LEFT_OUT, holds, place_copy
from fedrec.release import Manifest, public_key, signed_manifest, verify_release

SIGNER = "signer.pub"
RELEASES = "releases"
_LOCK = ".install.lock"


def pin_signer(device: Path, key: Path) -> None:
    """Let this device take releases of one signer, and of nobody else.

    key: the signer's .pub file, from a source that is trusted.
    Raises RefusedError if the device has another signer already.
    """
    given, pinned = public_key(key), device / SIGNER
    if pinned.exists() and public_key(pinned).public_bytes_raw() != given.public_bytes_raw():
        raise RefusedError(f"{device} takes releases of another signer. Use another device folder, or erase this one.")
    write_atomically(pinned, given.public_bytes_raw().hex().encode() + b"\n")


def install(device: Path, source: Path, *, by_person: bool = False, may_go_back: bool = False) -> Installed:
    """Verify a release, copy it, verify the copy, and make it the active one; returns it.

    by_person: the person asked for exactly this one. An update alone never goes to an older
    round, to another run, or to what the person went back from: RefusedError.
    may_go_back: the signer asked for exactly this one, so that an older round is an update too.
    Raises VerificationError for what its signer did not make, DataError for what this device
    cannot use or has no room for. The active release stays as it was then.
    """
    key = _signer(device)
    manifest = verify_release(source, key, optional=LEFT_OUT)
    name = folder_name(manifest)
    with _locked(device):
        choice = read_choice(device)
        if choice and not by_person:
            _require_update(device, choice, manifest, may_go_back=may_go_back)
        folder = device / RELEASES / name
        if not holds(folder, manifest, key):
            place_copy(source, folder, manifest, key, require_usable)
        _prepare_search(device, folder, manifest)
        if choice is None or choice.active != name:
            choice = choice.switch(name) if choice else Choice(active=name)
            _switch(device, choice)
        return _installed(folder, key)


def require_wanted(device: Path, manifest: Manifest, *, by_person: bool = False, may_go_back: bool = False) -> bool:
    """Whether a release is another than the active one, asked before anything of it is fetched.

    Raises RefusedError as `install` would.
    """
    choice = read_choice(device)
    if choice and not by_person:
        _require_update(device, choice, manifest, may_go_back=may_go_back)
    return choice is None or choice.active != folder_name(manifest)


def active(device: Path) -> Installed:
    """The active release, its signature and every file of it verified.

    Raises DataError if there is none, VerificationError if it was changed on the disk.
    """
    choice = read_choice(device)
    if choice is None:
        raise DataError(f"{device} holds no release. Run `fedrec client init` with one first.")
    folder, key = device / RELEASES / choice.active, _signer(device)
    verify_release(folder, key, optional=LEFT_OUT)
    return _installed(folder, key)


def roll_back(device: Path) -> Installed:
    """Make the release before the active one active again, at the person's wish; returns it.

    Raises RefusedError if there is none, or it was changed on the disk.
    """
    with _locked(device):
        choice = read_choice(device)
        if choice is None or not choice.earlier:
            raise RefusedError(f"{device} holds no earlier release to go back to.")
        back = choice.back()
        folder, key = device / RELEASES / back.active, _signer(device)
        verify_release(folder, key, optional=LEFT_OUT)
        _switch(device, back)
        return _installed(folder, key)


def installed(device: Path) -> list[Installed]:
    """The active release and those before it, the latest first; only their signatures are checked."""
    choice = read_choice(device)
    if choice is None:
        return []
    key = _signer(device)
    folders = [device / RELEASES / name for name in (choice.active, *choice.earlier)]
    return [_installed(folder, key) for folder in folders if folder.is_dir()]


def _prepare_search(device: Path, folder: Path, manifest: Manifest) -> None:
    """Make the search of a large catalogue fast before anybody waits for it."""
    model = LinearModel.open(folder, manifest, DeviceIndex.open(folder / DEVICE_INDEX))
    # Without room for it, or where it fails, every item is scored: slower, and the same list.
    with suppress(OSError, MemoryError, RuntimeError):
        build_graph(device / GRAPHS, model)


def _require_update(device: Path, choice: Choice, manifest: Manifest, *, may_go_back: bool) -> None:
    """Raise RefusedError for a release that only the person may choose."""
    name = folder_name(manifest)
    if name == choice.active:
        return
    if name in choice.set_aside:
        raise RefusedError(
            f"Release {manifest.id} was rolled back from on this device. Ask for it with `--this-one` to return."
        )
    now = int(choice.active.partition("-")[0])
    # An active release that is damaged can no longer say which run it is of; its name says the round.
    with suppress(VerificationError):
        if manifest.lineage["run"] != _installed(device / RELEASES / choice.active, _signer(device)).run:
            raise RefusedError(
                f"Release {manifest.id} is of another run than the active one. "
                "Ask for it with `--this-one` to change runs."
            )
    if manifest.lineage["round"] <= now and not may_go_back:
        raise RefusedError(
            f"Release {manifest.id} is of round {manifest.lineage['round']}, and round {now} is active: an "
            "update never goes back. Ask for it with `--this-one`, or roll back."
        )


def _installed(folder: Path, key: Ed25519PublicKey) -> Installed:
    manifest = signed_manifest(folder, key)
    return Installed(folder=folder, manifest=manifest, id=manifest.id, round=manifest.lineage["round"])


def _signer(device: Path) -> Ed25519PublicKey:
    if not (device / SIGNER).exists():
        raise DataError(f"{device} trusts no signer yet. Run `fedrec client init` with the signer's --key first.")
    return public_key(device / SIGNER)


def _switch(device: Path, choice: Choice) -> None:
    """Make a choice the active one; then remove what no choice names."""
    write_choice(device, choice)
    for folder in (device / RELEASES).iterdir():
        if folder.name not in choice.names:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(device: Path) -> Iterator[None]:
    """Hold the device's releases; a second process waits. Raises DataError where they cannot be written."""
    try:
        (device / RELEASES).mkdir(parents=True, exist_ok=True)
        with (device / _LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DataError(
            f"The releases in {device} cannot be changed ({error.strerror}). Make room, or check the rights."
        ) from None
