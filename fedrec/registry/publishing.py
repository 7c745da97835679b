"""Putting a release into the registry: its files first, then the rows that name them."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedrec.errors import DataError, RefusedError, VerificationError
from fedrec.registry.artifacts import Artifacts
from fedrec.registry.tables import StoredFile, StoredRelease
from fedrec.release import MANIFEST, SIGNATURE, Manifest, open_plain

_LONGEST_SIGNATURE = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of a release's quality. basis: whose data it was measured on, and that nobody's are told by it."""

    value: float
    basis: Literal["public", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """A published release. new_bytes: of files that no release of the catalogue had before it."""

    catalogue: str
    id: str
    manifest_hash: str
    run: str
    round: int
    published_at: int
    bytes: int
    new_bytes: int
    privacy: Mapping[str, Any]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A release's own bytes, and the sizes of its files after they were stored."""

    manifest: Manifest
    content: bytes
    signature: bytes
    sizes: Mapping[str, int]

    @property
    def manifest_hash(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def store_files(artifacts: Artifacts, folder: Path, manifest: Manifest) -> Parcel:
    """Every file of a release lies in the artifacts; raises VerificationError if one is not the manifest's."""
    try:
        with open_plain(folder / MANIFEST) as file:
            content = file.read(len(manifest.content()) + 1)
        with open_plain(folder / SIGNATURE) as file:
            signature = file.read(_LONGEST_SIGNATURE)
    except OSError as error:
        raise DataError(f"{folder} cannot be published ({error.strerror}). Name the folder of a release.") from None
    if content != manifest.content():
        raise VerificationError(f"{folder} is not the release of this manifest. Nothing was published.")
    sizes = {name: artifacts.put(folder / name, sha256=digest) for name, digest in manifest.files.items()}
    return Parcel(manifest=manifest, content=content, signature=signature, sizes=sizes)


def add_release(session: Session, catalogue: str, parcel: Parcel, *, metrics: Mapping[str, Metric]) -> ReleaseRow:
    """The rows of a release are there; the same again is left as it is, anything else under its name refused."""
    kept = {name: {"value": metric.value, "basis": metric.basis} for name, metric in metrics.items()}
    stored = session.get(StoredRelease, (catalogue, parcel.manifest_hash))
    if stored is None:
        _require_only(session, parcel.manifest)
        stored = _new_release(session, catalogue, parcel, kept)
        session.add(stored)
        session.flush()
        session.add_all(_files(catalogue, parcel))
    elif stored.signature != parcel.signature:
        raise RefusedError(
            f"Release {stored.id} of `{catalogue}` is published with another signature: a release never changes."
        )
    return release_row(stored)


def _require_only(session: Session, manifest: Manifest) -> None:
    """Raise RefusedError if a round of this run is released already: its noise was drawn twice, and paid for once."""
    run, number = str(manifest.lineage["run"]), int(manifest.lineage["round"])
    same = select(StoredRelease.id).where(StoredRelease.run == run, StoredRelease.round == number)
    # The start of a run has no noise in it.
    if number and any(known != manifest.id for known in session.scalars(same)):
        raise RefusedError(
            f"Round {number} of this run is released already, and as another one: the run goes on in two places, or "
            "its folder was set back. Stop it; see `A run folder` in docs/runbook.md."
        )


def find_release(session: Session, catalogue: str, release: str) -> StoredRelease:
    """The release of a catalogue with this id or manifest hash.

    Raises RefusedError if there is none, or an id is that of several manifests.
    """
    same = (StoredRelease.id == release) | (StoredRelease.manifest_hash == release)
    found = session.scalars(select(StoredRelease).where(StoredRelease.catalogue == catalogue, same)).all()
    if not found:
        raise RefusedError(f"`{catalogue}` has no release {release[:64]!a}. `fedrec server releases` lists them.")
    if len(found) > 1:
        raise RefusedError(
            f"{len(found)} releases of `{catalogue}` have this id. Name one by the hash of its manifest."
        )
    return found[0]


def release_row(stored: StoredRelease) -> ReleaseRow:
    """A stored release as it is shown."""
    return ReleaseRow(
        catalogue=stored.catalogue,
        id=stored.id,
        manifest_hash=stored.manifest_hash,
        run=stored.run,
        round=stored.round,
        published_at=stored.published_at,
        bytes=stored.size,
        new_bytes=stored.new_size,
        privacy=stored.privacy,
        metrics={name: Metric(**metric) for name, metric in stored.metrics.items()},
    )


def _new_release(session: Session, catalogue: str, parcel: Parcel, metrics: dict[str, Any]) -> StoredRelease:
    manifest, sizes = parcel.manifest, parcel.sizes
    last = session.scalar(select(func.max(StoredRelease.number)).where(StoredRelease.catalogue == catalogue))
    digests = set(manifest.files.values())
    same = StoredFile.sha256.in_(digests)
    known = set(session.scalars(select(StoredFile.sha256).where(StoredFile.catalogue == catalogue, same)))
    by_digest = {digest: sizes[name] for name, digest in manifest.files.items()}
    return StoredRelease(
        catalogue=catalogue,
        manifest_hash=parcel.manifest_hash,
        number=(last or 0) + 1,
        id=manifest.id,
        run=str(manifest.lineage["run"]),
        round=int(manifest.lineage["round"]),
        published_at=int(time.time()),
        size=sum(sizes.values()),
        new_size=sum(by_digest[digest] for digest in digests - known),
        manifest=parcel.content,
        signature=parcel.signature,
        privacy=dict(manifest.privacy),
        metrics=metrics,
    )


def _files(catalogue: str, parcel: Parcel) -> list[StoredFile]:
    return [
        StoredFile(
            catalogue=catalogue,
            manifest_hash=parcel.manifest_hash,
            name=name,
            sha256=digest,
            size=parcel.sizes[name],
        )
        for name, digest in parcel.manifest.files.items()
    ]
