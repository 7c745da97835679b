"""Fetching what the signer tells devices to use: the pointer, the manifest, and the files that are not here yet.

The server is not trusted. A pointer counts by its signature and its serial, a manifest by the
pointer's hash and its own signature, a file by the manifest's hash and the pointer's size.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fedrec.data.store.locks import held
from fedrec.errors import ConfigError, DataError, FedrecError, VerificationError
from fedrec.ondevice.installed import Installed
from fedrec.ondevice.release_copy import LEFT_OUT
from fedrec.ondevice.release_server import ReleaseServer
from fedrec.ondevice.releases import SIGNER, active, install, installed, require_wanted
from fedrec.ondevice.seen import Seen, read_seen, seen_now, write_seen
from fedrec.pointer import POINTER_BYTES, Pointer, read_pointer
from fedrec.release import (
    MANIFEST,
    MANIFEST_BYTES,
    SIGNATURE,
    SIGNATURE_BYTES,
    Manifest,
    hash_file,
    public_key,
    signed_manifest,
)

FETCHED = ".fetched"
_LOCK = ".fetch.lock"
_BREAKS = 5
# What was fetched is copied once more when it is installed.
_COPIES = 2

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

Progress = Callable[[int, int], None]


def fetch(
    device: Path,
    url: str,
    *,
    catalogue: str,
    ca: Path | None = None,
    by_person: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Installed | None:
    """Make the release that devices are told to use the active one; None if it is already, or nothing changed.

    url: of the server, https. ca: whose certificates count, the system's authorities if not given.
    by_person: also what the person went back from, or another run. progress: bytes fetched, of all.
    Raises VerificationError for what the pinned signer did not make or for an earlier pointer,
    DataError where the server cannot be reached or breaks off: what came stays for the next time.
    """
    if not (device / SIGNER).exists():
        raise DataError(f"{device} trusts no signer yet. Run `fedrec client init` with the signer's --key first.")
    if not _NAME.fullmatch(catalogue):
        raise ConfigError(f"{catalogue[:64]!a} is no name of a catalogue. Ask the operator for it.")
    try:
        with held(device / _LOCK, wait=0.0), ReleaseServer(url, ca=ca) as server:
            return _Fetching(device, server, catalogue, progress).newest(by_person=by_person)
    except OSError as error:
        raise DataError(
            f"The release cannot be fetched to {device} ({error.strerror}). Make room, or check the rights."
        ) from None


class _Fetching:
    """One look at a catalogue's channel, for one device."""

    def __init__(self, device: Path, server: ReleaseServer, catalogue: str, progress: Progress) -> None:
        self._device = device
        self._server = server
        self._catalogue = catalogue
        self._progress = progress
        self._key = public_key(device / SIGNER)
        self._folder = device / FETCHED

    def newest(self, *, by_person: bool) -> Installed | None:
        """What the channel points to, installed; None if there is nothing to do."""
        seen = read_seen(self._device)
        before = seen.get(self._catalogue)
        # Who asks for exactly this one may have gone back from it meanwhile.
        found = self._pointer(before, ask_again=by_person)
        if found is None:
            return None
        pointer, etag = found
        now = seen_now(before, pointer)
        # Kept before anything is done with it: what was seen stays seen, whatever fails below.
        write_seen(self._device, seen | {self._catalogue: now})
        release = self._installed(pointer, by_person=by_person)
        write_seen(self._device, seen | {self._catalogue: replace(now, etag=etag)})
        shutil.rmtree(self._folder, ignore_errors=True)
        return release

    def _pointer(self, before: Seen | None, *, ask_again: bool) -> tuple[Pointer, str | None] | None:
        """The signed pointer and its ETag; None if it is the one whose release was installed."""
        known = before.etag if before and not ask_again and self._is_intact() else None
        answer = self._server.content(f"/v1/releases/{self._catalogue}/current", most=POINTER_BYTES, etag=known)
        if answer is None:
            return None
        pointer = read_pointer(answer[0], self._key)
        if pointer.catalogue != self._catalogue:
            raise VerificationError(
                f"The server answers with the releases of another catalogue than `{self._catalogue}`. Nothing was used."
            )
        return pointer, answer[1]

    def _installed(self, pointer: Pointer, *, by_person: bool) -> Installed | None:
        """The release of a pointer, active; None if it was before."""
        draft = self._folder / "release"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        manifest = self._manifest(pointer, draft)
        other = require_wanted(self._device, manifest, by_person=by_person, may_go_back=True)
        if not other and self._is_intact():
            return None
        self._fill(draft, manifest, pointer)
        return install(self._device, draft, by_person=by_person, may_go_back=True)

    def _is_intact(self) -> bool:
        """Whether the active release recommends; a damaged one is fetched again."""
        try:
            active(self._device)
        except FedrecError:
            return False
        return True

    def _manifest(self, pointer: Pointer, draft: Path) -> Manifest:
        """The pointer's manifest, its hash, signature and words all checked."""
        place = f"/v1/releases/{self._catalogue}/{pointer.manifest_hash}"
        for name, most in ((MANIFEST, MANIFEST_BYTES), (SIGNATURE, SIGNATURE_BYTES)):
            answer = self._server.content(f"{place}/{name}", most=most)
            (draft / name).write_bytes(answer[0] if answer else b"")
        if hash_file(draft / MANIFEST) != pointer.manifest_hash:
            raise VerificationError("The server sends another manifest than the signed one. Nothing was used.")
        manifest = signed_manifest(draft, self._key)
        stated = (pointer.release, pointer.run, pointer.round)
        if stated != (manifest.id, manifest.lineage.get("run"), manifest.lineage.get("round")):
            raise VerificationError("The pointer and the manifest speak of different releases. Nothing was used.")
        if manifest.files.keys() - pointer.sizes.keys():
            raise VerificationError("The pointer does not say how large every file is. Nothing was used.")
        return manifest

    def _fill(self, draft: Path, manifest: Manifest, pointer: Pointer) -> None:
        """Put every file that a device reads into the draft: from an installed release, or fetched."""
        files = {name: digest for name, digest in manifest.files.items() if name not in LEFT_OUT}
        sizes = {digest: pointer.sizes[name] for name, digest in files.items()}
        here = self._here(sizes)
        missing = {digest: size for digest, size in sizes.items() if digest not in here}
        self._require_room(missing)
        done = 0
        for digest, size in missing.items():
            here[digest] = self._fetched(digest, size)
            self._progress(done := done + size, sum(missing.values()))
        for name, digest in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            _place(here[digest], draft / name)

    def _here(self, wanted: Collection[str]) -> dict[str, Path]:
        """By hash, the wanted files that lie intact in an installed release; what is damaged is fetched."""
        here: dict[str, Path] = {}
        with suppress(FedrecError):
            for release in installed(self._device):
                for name, digest in release.manifest.files.items():
                    path = release.folder / name
                    if digest in wanted and digest not in here and path.is_file() and hash_file(path) == digest:
                        here[digest] = path
        return here

    def _fetched(self, digest: str, size: int) -> Path:
        """A file of this hash, fetched; it goes on where an earlier attempt broke off."""
        target = self._folder / f"{digest}.part"
        resumed = _size(target) > 0
        if _size(target) > size:
            target.unlink()
        self._finish(target, digest, size)
        if hash_file(target) == digest:
            return target
        target.unlink()
        if resumed:
            # What was here before may have been spoilt on the disk.
            return self._fetched(digest, size)
        raise VerificationError(
            f"{self._server.name} sends another file than the signed one. It was removed, and nothing was used."
        )

    def _finish(self, target: Path, digest: str, size: int) -> None:
        """Fetch the rest of a file; a break is gone on with as long as something comes."""
        for _ in range(_BREAKS):
            had = _size(target)
            try:
                self._server.part(f"/v1/releases/blobs/{digest}", target, size=size, etag=f'"{digest}"')
            except DataError:
                if _size(target) <= had:
                    raise
            else:
                return
        self._server.part(f"/v1/releases/blobs/{digest}", target, size=size, etag=f'"{digest}"')

    def _require_room(self, missing: dict[str, int]) -> None:
        """Say that there is no room before anything is fetched; remove what no longer is wanted."""
        for leftover in self._folder.glob("*.part"):
            if leftover.stem not in missing:
                leftover.unlink()
        needed = _COPIES * sum(missing.values())
        if shutil.disk_usage(self._device).free < needed:
            raise DataError(f"The release needs {needed / 1e6:.0f} MB on {self._device}, and there is less. Make room.")


def _place(source: Path, target: Path) -> None:
    """The same file under another name too; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
