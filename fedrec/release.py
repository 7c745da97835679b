"""Signed releases: a folder with a manifest of hashes, written whole and never changed.

A device verifies the signature (Ed25519) and every hash before it uses a file. The id of
a release is a hash of what it recommends with, so the same adapter is the same release.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedrec.errors import VerificationError
from fedrec.files import sync_folder, write_atomically

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
# What a release recommends with; the card and the report beside it only describe it.
_IDENTITY = ("adapter/", "index", "prior", "catalogue")
# They are read before anybody vouches for them.
MANIFEST_BYTES, SIGNATURE_BYTES = 1 << 20, 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a release vouches for.

    files: sha256 by path within the folder. lineage: run, round, base model, layout, item
    index and ledger head. privacy: what was spent, as the run reports it.
    """

    id: str
    files: Mapping[str, str]
    lineage: Mapping[str, Any]
    privacy: Mapping[str, Any]

    def content(self) -> bytes:
        """The bytes that are signed."""
        body = {"id": self.id, "files": self.files, "lineage": self.lineage, "privacy": self.privacy}
        return (json.dumps(body, indent=2, sort_keys=True) + "\n").encode()


def publish_release(
    parent: Path,
    write_files: Callable[[Path], None],
    *,
    round_number: int,
    lineage: Mapping[str, Any],
    privacy: Mapping[str, Any],
    key: Ed25519PrivateKey,
) -> Path:
    """Write a release beside its final place, sign it, and rename it; returns its folder.

    write_files: fills an empty folder. A release that exists already is left as it is.
    """
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft.", dir=parent))
    try:
        write_files(draft)
        files = {str(path.relative_to(draft)): hash_file(path) for path in sorted(draft.rglob("*")) if path.is_file()}
        manifest = Manifest(id=id_of(files, lineage), files=files, lineage=lineage, privacy=privacy)
        folder = parent / f"{round_number:05d}-{manifest.id}"
        if folder.exists():
            return folder
        write_atomically(draft / MANIFEST, manifest.content())
        write_atomically(draft / SIGNATURE, key.sign(manifest.content()).hex().encode() + b"\n")
        draft.chmod(0o755)
        draft.rename(folder)
        sync_folder(parent)
        return folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def id_of(files: Mapping[str, str], lineage: Mapping[str, Any]) -> str:
    """The id of a release with these files: a hash of what it recommends with."""
    identity = {name: digest for name, digest in files.items() if name.startswith(_IDENTITY)}
    body = json.dumps([identity, lineage.get("index"), lineage.get("base_model")], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def verify_release(folder: Path, key: Ed25519PublicKey, *, optional: Collection[str] = ()) -> Manifest:
    """The manifest of a release whose signature and files all hold.

    optional: files that may be absent; where they are there, they hold too.
    Raises VerificationError with what failed; nothing of such a release may be used.
    """
    manifest = signed_manifest(folder, key)
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if added := sorted(present - manifest.files.keys() - {MANIFEST, SIGNATURE}):
        raise VerificationError(f"{folder}: {added[0][:80]!a} is not part of this release. Fetch the release again.")
    for name, digest in manifest.files.items():
        if name in optional and name not in present:
            continue
        if not _has_hash(folder / name, digest):
            raise VerificationError(f"{folder}: {name[:80]} is missing or changed. Fetch the release again.")
    return manifest


def signed_manifest(folder: Path, key: Ed25519PublicKey) -> Manifest:
    """The manifest of a release whose signature holds; its files are not looked at.

    Raises VerificationError if it does not, if a file would lie outside the folder, or if its
    id is not that of its files.
    """
    try:
        content = _read_plain(folder / MANIFEST, most=MANIFEST_BYTES)
        signature = _read_plain(folder / SIGNATURE, most=SIGNATURE_BYTES).decode()
        key.verify(bytes.fromhex(signature), content)
        manifest = Manifest(**json.loads(content))
        if not all(isinstance(part, dict) for part in (manifest.files, manifest.lineage, manifest.privacy)):
            raise ValueError("a part of it is no table")
        outside = [name for name in manifest.files if not _is_within(name)]
        stated = manifest.id == id_of(manifest.files, manifest.lineage)
    except FileNotFoundError as error:
        raise VerificationError(f"{folder} is not a release: it lacks {Path(error.filename).name}.") from None
    except InvalidSignature:
        raise VerificationError(f"{folder}: the signature is not of this key. Do not use this release.") from None
    except OSError as error:
        raise VerificationError(
            f"{folder}: the manifest cannot be read ({error.strerror}). Fetch the release again."
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise VerificationError(
            f"{folder}: the manifest cannot be read ({type(error).__name__}). Fetch the release again."
        ) from None
    if outside:
        raise VerificationError(f"{folder}: the manifest names a file outside its folder. Do not use this release.")
    if not stated:
        raise VerificationError(f"{folder}: the manifest's id is not that of its files. Do not use this release.")
    return manifest


def open_plain(path: Path) -> BufferedReader:
    """A regular file, open for reading; raises OSError for a link, and for a pipe or a device at once.

    Whoever else can write to the folder can exchange the file: what was checked is what is open.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise OSError(errno.EINVAL, "It is no regular file", str(path))


def _read_plain(path: Path, *, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes."""
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"{path.name} is larger than {most} bytes", str(path))
    return content


def _has_hash(path: Path, digest: str) -> bool:
    """Whether a regular file with this content lies there."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _is_within(name: str) -> bool:
    """Whether a manifest's path stays in the folder, on every system that may read it.

    >>> [_is_within(name) for name in ("adapter/a.json", "/etc/passwd", "a/../../b", "C:\\\\b", "")]
    [True, False, False, False, False]
    """
    parts = name.split("/")
    return name.isprintable() and not set("\\:") & set(name) and not {"", ".", ".."} & set(parts)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in `path` (0600), made on first use; its public half lies beside it as .pub."""
    if not path.exists():
        write_atomically(path, Ed25519PrivateKey.generate().private_bytes_raw(), mode=0o600)
    try:
        key = Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except ValueError:
        raise VerificationError(f"{path} holds no Ed25519 private key. Restore it from a copy.") from None
    public = path.with_suffix(".pub")
    if not public.exists():
        write_atomically(public, key.public_key().public_bytes_raw().hex().encode() + b"\n")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a .pub file; raises VerificationError if it is none."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(path.read_text()))
    except (OSError, ValueError) as error:
        raise VerificationError(
            f"{path} holds no Ed25519 public key ({error}). Name the signer's with --key."
        ) from None


def hash_file(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
