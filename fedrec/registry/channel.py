"""A catalogue's channel: an append-only list of signed pointers, of which the last one counts."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from fedrec.errors import RefusedError, VerificationError
from fedrec.pointer import Pointer, Reason, signed_pointer, stored_pointer
from fedrec.registry.publishing import find_release
from fedrec.registry.tables import StoredFile, StoredPromotion, StoredRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A pointer and the document that devices get. after: the document that it follows."""

    after: bytes | None
    pointer: Pointer
    document: bytes


def pointers(session: Session, catalogue: str) -> list[Pointer]:
    """Every pointer of a catalogue, the first one first."""
    of_it = select(StoredPromotion).where(StoredPromotion.catalogue == catalogue).order_by(StoredPromotion.serial)
    return [stored_pointer(stored.document) for stored in session.scalars(of_it)]


def last_document(session: Session, catalogue: str) -> bytes | None:
    """What devices of a catalogue get now; None before the first promotion."""
    newest = (
        select(StoredPromotion.document)
        .where(StoredPromotion.catalogue == catalogue)
        .order_by(StoredPromotion.serial.desc())
    )
    return session.scalars(newest.limit(1)).first()


def draft(
    session: Session, catalogue: str, release: str, *, key: Ed25519PrivateKey, reason: Reason, now: int
) -> Signed:
    """The next pointer of a catalogue, to this release; nothing is written yet.

    Raises VerificationError if another key signed the release: devices would refuse it.
    """
    stored = find_release(session, catalogue, release)
    _require_signed(stored, key)
    last = last_document(session, catalogue)
    files = select(StoredFile).where(
        StoredFile.catalogue == catalogue, StoredFile.manifest_hash == stored.manifest_hash
    )
    pointer = Pointer(
        catalogue=catalogue,
        # Seconds since 1970, as a rule: above what devices saw of a registry that was lost or set back.
        serial=max(stored_pointer(last).serial + 1 if last else 1, now),
        release=stored.id,
        manifest_hash=stored.manifest_hash,
        run=stored.run,
        round=stored.round,
        reason=reason,
        issued_at=now,
        sizes={file.name: file.size for file in session.scalars(files)},
    )
    return Signed(after=last, pointer=pointer, document=signed_pointer(pointer, key))


def release_before(channel: list[Pointer]) -> str:
    """The manifest hash to which a roll-back goes: of what was in use before the pointer that is.

    >>> release_before([])
    Traceback (most recent call last):
    ...
    fedrec.errors.RefusedError: There is no earlier release to go back to.
    """
    in_use: list[str] = []
    for pointer in channel:
        if pointer.reason == "promoted":
            in_use.append(pointer.manifest_hash)
        else:
            in_use.pop()
    if len(in_use) < 2:
        raise RefusedError("There is no earlier release to go back to.")
    return in_use[-2]


def append(session: Session, signed: Signed) -> Pointer:
    """A drafted pointer is the one that counts; the very same again changes nothing.

    Raises RefusedError if the channel went on since it was drafted.
    """
    pointer = signed.pointer
    last = last_document(session, pointer.catalogue)
    if last == signed.document:
        return pointer
    if last != signed.after:
        raise RefusedError(f"Somebody else changed what `{pointer.catalogue}` uses meanwhile. Look, and ask again.")
    session.add(
        StoredPromotion(
            catalogue=pointer.catalogue,
            serial=pointer.serial,
            manifest_hash=pointer.manifest_hash,
            reason=pointer.reason,
            document=signed.document,
        )
    )
    return pointer


def _require_signed(stored: StoredRelease, key: Ed25519PrivateKey) -> None:
    try:
        key.public_key().verify(bytes.fromhex(stored.signature.decode()), stored.manifest)
    except (InvalidSignature, ValueError):
        raise VerificationError(
            f"Release {stored.id} was signed by another key: devices that trust this one would refuse it."
        ) from None
