"""Copying a release onto a device: beside its final place, verified there, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedrec.errors import DataError
from fedrec.files import sync_folder
from fedrec.release import MANIFEST, SIGNATURE, Manifest, signed_manifest, verify_release

# What only training reads; a source may lack it too.
LEFT_OUT = frozenset({"index.safetensors"})
_WORTH_SHARING = 1 << 20


def place_copy(
    source: Path, folder: Path, key: Ed25519PublicKey, require_usable: Callable[[Path, Manifest], None]
) -> None:
    """Put a verified copy of a release at `folder`, whole or not at all.

    require_usable: asked of the copy before it gets its name. Whatever was at `folder` goes.
    Raises VerificationError if the copy does not hold, DataError if there is no room for it.
    """
    draft = Path(tempfile.mkdtemp(prefix=".draft.", dir=folder.parent))
    try:
        _copy(source, draft, key, folder.parent)
        require_usable(draft, verify_release(draft, key, optional=LEFT_OUT))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise DataError(
            f"The release cannot be copied to {folder.parent} ({error.strerror}). Make room, or check the rights."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(source: Path, draft: Path, key: Ed25519PublicKey, releases: Path) -> None:
    manifest = signed_manifest(source, key)
    known = _shareable(releases, key)
    for name, digest in {**manifest.files, MANIFEST: "", SIGNATURE: ""}.items():
        target = draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in LEFT_OUT:
            continue
        # Only files of the device itself are shared: nobody else writes those.
        if digest in known:
            os.link(known[digest], target)
        else:
            shutil.copyfile(source / name, target, follow_symlinks=False)
            target.chmod(0o644)
            _sync(target)
    for folder in (draft, *_folders(draft)):
        folder.chmod(0o755)
        sync_folder(folder)


def _shareable(releases: Path, key: Ed25519PublicKey) -> dict[str, Path]:
    """The large files of installed releases, by hash; encoder and index seldom change."""
    found = {}
    for folder in releases.iterdir():
        if not folder.name.startswith("."):
            for name, digest in signed_manifest(folder, key).files.items():
                path = folder / name
                if path.is_file() and path.stat().st_size >= _WORTH_SHARING:
                    found[digest] = path
    return found


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
