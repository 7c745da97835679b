"""Copying a release onto a device: beside its final place, verified there, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedrec.errors import VerificationError
from fedrec.files import sync_folder
from fedrec.release import MANIFEST, SIGNATURE, Manifest, hash_file, verify_release

# What only training reads; a source may lack it too.
LEFT_OUT = frozenset({"index.safetensors"})
_WORTH_SHARING = 1 << 20


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
        if verify_release(draft, key, optional=LEFT_OUT) != manifest:
            raise VerificationError(f"{source} was changed while it was copied. Install it again.")
        require_usable(draft, manifest)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(source: Path, draft: Path, manifest: Manifest) -> None:
    """Fill a draft; files that the device holds already are shared, as nobody else writes those."""
    for name, digest in {**manifest.files, MANIFEST: "", SIGNATURE: ""}.items():
        if name in LEFT_OUT:
            continue
        target, original = draft / name, source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        known = _known(draft.parent, name, digest) if original.stat().st_size >= _WORTH_SHARING else None
        if known:
            os.link(known, target)
        else:
            shutil.copyfile(original, target, follow_symlinks=False)
            target.chmod(0o644)
            _sync(target)
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


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
