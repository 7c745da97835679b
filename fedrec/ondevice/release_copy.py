"""Copying a release onto a device: beside its final place, verified there, then renamed."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedrec.errors import VerificationError
from fedrec.files import sync_folder
from fedrec.release import MANIFEST, SIGNATURE, Manifest, hash_file, open_plain, verify_release

# What only training reads; a source may lack it too.
LEFT_OUT = frozenset({"index.safetensors"})
_WORTH_SHARING = 1 << 20
_BLOCK = 1 << 20


def place_copy(
    source: Path,
    folder: Path,
    manifest: Manifest,
    key: Ed25519PublicKey,
    require_usable: Callable[[Path, Manifest], None],
) -> None:
    """Put a verified copy of a release at `folder`, whole or not at all.

    manifest: of the source, as it was verified. require_usable: asked of the copy before it
    gets its name. Whatever was at `folder` goes.
    Raises VerificationError if the copy is not that release, OSError if there is no room for it.
    """
    draft = Path(tempfile.mkdtemp(prefix=".draft.", dir=folder.parent))
    try:
        _copy(source, draft, manifest)
        if not holds(draft, manifest, key):
            raise _changed(source)
        require_usable(draft, manifest)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def holds(folder: Path, manifest: Manifest, key: Ed25519PublicKey) -> bool:
    """Whether this very release lies there intact, not another one of its name."""
    try:
        return folder.is_dir() and verify_release(folder, key, optional=LEFT_OUT) == manifest
    except VerificationError:
        return False


def _copy(source: Path, draft: Path, manifest: Manifest) -> None:
    """Fill a draft; files that the device holds already are shared, as nobody else writes those.

    The source may be exchanged meanwhile: each file is opened once, and hashed as it is copied.
    """
    for name, digest in manifest.files.items():
        if name in LEFT_OUT:
            continue
        with _opened(source, name) as original:
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            known = _known(draft.parent, name, digest) if _size(original) >= _WORTH_SHARING else None
            if known:
                os.link(known, target)
            elif _write(original, target) != digest:
                raise _changed(source)
    # No hash vouches for these: that they are the ones which were verified is asked of the copy.
    for name in (MANIFEST, SIGNATURE):
        with _opened(source, name) as original:
            _write(original, draft / name, most=_BLOCK)
    for folder in (draft, *_folders(draft)):
        folder.chmod(0o755)
        sync_folder(folder)


def _known(releases: Path, name: str, digest: str) -> Path | None:
    """The same file in an installed release; encoder and index seldom change."""
    for folder in releases.iterdir():
        path = folder / name
        if not folder.name.startswith(".") and path.is_file() and hash_file(path) == digest:
            return path
    return None


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir())


def _opened(source: Path, name: str) -> BinaryIO:
    try:
        return open_plain(source / name)
    except OSError:
        raise _changed(source) from None


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _write(original: BinaryIO, target: Path, *, most: int | None = None) -> str:
    """Copy an open file, or its first `most` bytes, to the disk; returns the hash of what was copied."""
    digest = hashlib.sha256()
    left = _size(original) if most is None else most
    with target.open("xb") as file:
        while left and (block := original.read(min(left, _BLOCK))):
            file.write(block)
            digest.update(block)
            left -= len(block)
        # By its descriptor: a name could mean another file by now.
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _changed(source: Path) -> VerificationError:
    return VerificationError(f"{source} was changed while it was copied. Install it again.")
