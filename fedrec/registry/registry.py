"""The registry of an aggregation service: immutable releases, and what devices are told to use of them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from fedrec.errors import RefusedError
from fedrec.pointer import Pointer, Reason, stored_pointer
from fedrec.registry import channel
from fedrec.registry.artifacts import Artifacts
from fedrec.registry.database import Database
from fedrec.registry.publishing import Metric, ReleaseRow, add_release, release_row, store_files
from fedrec.registry.tables import StoredDocument, StoredFile, StoredRelease
from fedrec.release import Manifest

T = TypeVar("T")


class Registry:
    """Releases, channels and documents. Every method is one transaction: after a kill it happened or it did not.

    Safe among threads and processes. Raises DataError where the database or the files cannot be reached.
    """

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self.database = database
        self.artifacts = artifacts

    @classmethod
    def open(cls, url: str, *, artifacts: str) -> Self:
        """The registry at a SQLAlchemy URL, its files at an fsspec URL; both are made where they are not there."""
        return cls(Database.open(url), Artifacts(artifacts))

    def close(self) -> None:
        """Nothing of it is open any more."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, work: Callable[[Session], T]) -> T:
        """What some work reads, all of one moment; for the tables that other modules keep here."""
        return self.database.read(work)

    def write(self, work: Callable[[Session], T]) -> T:
        """What some work comes to, all of it or nothing, with no other writer meanwhile.

        A lost connection runs it again, also after a commit whose answer was lost: it must come to the same.
        """
        return self.database.write(work)

    def publish(
        self, catalogue: str, folder: Path, *, manifest: Manifest, metrics: Mapping[str, Metric] | None = None
    ) -> ReleaseRow:
        """A verified release is kept for good; publishing it again changes nothing.

        metrics: on public data, or released under the privacy plan.
        Raises VerificationError if a file is not the manifest's, RefusedError for another content under its name.
        """
        parcel = store_files(self.artifacts, folder, manifest)
        return self.write(lambda session: add_release(session, catalogue, parcel, metrics=metrics or {}))

    def releases(self, catalogue: str) -> list[ReleaseRow]:
        """Every release of a catalogue, the latest first."""
        of_it = select(StoredRelease).where(StoredRelease.catalogue == catalogue).order_by(StoredRelease.number.desc())
        return self.read(lambda session: [release_row(stored) for stored in session.scalars(of_it)])

    def promote(
        self, catalogue: str, release: str, *, key: Ed25519PrivateKey, now: int, reason: Reason = "promoted"
    ) -> Pointer:
        """Devices are told to use this release from now on; the one in use already stays as it is.

        release: its id, or the hash of its manifest. Raises RefusedError if there is none, or somebody else
        changed the channel meanwhile.
        """
        signed = self.read(lambda session: channel.draft(session, catalogue, release, key=key, reason=reason, now=now))
        in_use = self.current(catalogue)
        if in_use and in_use.manifest_hash == signed.pointer.manifest_hash:
            return in_use
        return self.write(lambda session: channel.append(session, signed))

    def roll_back(self, catalogue: str, *, key: Ed25519PrivateKey, now: int) -> Pointer:
        """Devices are told to use what was in use before; raises RefusedError if nothing was."""
        before = channel.release_before(self.channel(catalogue))
        return self.promote(catalogue, before, key=key, now=now, reason="rolled back")

    def current(self, catalogue: str) -> Pointer | None:
        """What devices are told to use; None before the first promotion."""
        document = self.current_document(catalogue)
        return stored_pointer(document) if document else None

    def channel(self, catalogue: str) -> list[Pointer]:
        """Every pointer that was ever issued for a catalogue, the first one first."""
        return self.read(lambda session: channel.pointers(session, catalogue))

    def current_document(self, catalogue: str) -> bytes | None:
        """The signed pointer as devices get it."""
        return self.read(lambda session: channel.last_document(session, catalogue))

    def manifest(self, catalogue: str, manifest_hash: str) -> tuple[bytes, bytes] | None:
        """A published release's manifest and signature, byte for byte."""

        def work(session: Session) -> tuple[bytes, bytes] | None:
            stored = session.get(StoredRelease, (catalogue, manifest_hash))
            return (stored.manifest, stored.signature) if stored else None

        return self.read(work)

    def blob_size(self, sha256: str) -> int | None:
        """Bytes of a file that some published release names; None if none does."""
        size = select(StoredFile.size).where(StoredFile.sha256 == sha256).limit(1)
        return self.read(lambda session: session.scalars(size).first())

    def keep_document(self, name: str, content: bytes, *, serial: int) -> None:
        """A signed document is the one that devices get under this name; the very same again changes nothing.

        Raises RefusedError unless its serial is above the one that is kept.
        """

        def work(session: Session) -> None:
            stored = session.get(StoredDocument, name)
            if stored and (stored.serial, stored.content) == (serial, content):
                return
            if stored and stored.serial >= serial:
                raise RefusedError(f"`{name}` is kept with serial {stored.serial} already. Sign it with a later one.")
            digest = hashlib.sha256(content).hexdigest()
            session.merge(StoredDocument(name=name, serial=serial, sha256=digest, content=content))

        self.write(work)

    def document(self, name: str) -> bytes | None:
        """A signed document as devices get it; None if it was never kept."""
        of_name = select(StoredDocument.content).where(StoredDocument.name == name)
        return self.read(lambda session: session.scalars(of_name).first())

    def document_hash(self, name: str) -> str | None:
        """The sha256 of a kept document."""
        of_name = select(StoredDocument.sha256).where(StoredDocument.name == name)
        return self.read(lambda session: session.scalars(of_name).first())

    def directory(self, catalogue: str) -> bytes | None:
        """The signed directory of a catalogue's identity keys, as it was kept under `directory/CATALOGUE`."""
        return self.document(f"directory/{catalogue}")
