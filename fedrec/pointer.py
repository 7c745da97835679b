"""Signed pointers: which release of a catalogue devices are told to use.

Each pointer of a catalogue has a serial above the one before, so that a device which has
seen a newer one refuses an older one, whoever hands it out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedrec.errors import VerificationError

Reason = Literal["promoted", "rolled back"]
POINTER_BYTES = 1 << 18
# The same key signs manifests too: no signature of one kind may be taken for another's.
_CONTEXT = b"fedrec pointer 1\n"
_HASH = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Use this release. serial: above every earlier one of the catalogue. issued_at: UTC seconds.

    release, manifest_hash: the id, and the sha256 of its manifest. sizes: bytes by file, so that
    nobody has to read an answer further than its file goes.
    """

    catalogue: str
    serial: int
    release: str
    manifest_hash: str
    run: str
    round: int
    reason: Reason
    issued_at: int
    sizes: Mapping[str, int]

    def content(self) -> bytes:
        """The bytes that are signed, after the words that say what they are."""
        return (json.dumps(asdict(self), sort_keys=True, separators=(",", ":")) + "\n").encode()


def signed_pointer(pointer: Pointer, key: Ed25519PrivateKey) -> bytes:
    """The document that devices fetch: the pointer's own bytes and their signature."""
    content = pointer.content()
    table = {"pointer": content.decode(), "signature": key.sign(_CONTEXT + content).hex()}
    return (json.dumps(table, indent=2) + "\n").encode()


def read_pointer(document: bytes, key: Ed25519PublicKey) -> Pointer:
    """The pointer in a document, if `key` signed it.

    Raises VerificationError if it did not, or if what is signed is no pointer.
    """
    try:
        table = json.loads(document)
        content = table["pointer"].encode()
        key.verify(bytes.fromhex(table["signature"]), _CONTEXT + content)
        return _parsed(json.loads(content))
    except InvalidSignature:
        raise VerificationError("The pointer's signature is not of this device's signer. Nothing was used.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise VerificationError(
            f"What the server names as the newest release cannot be read ({type(error).__name__}). Nothing was used."
        ) from None


def stored_pointer(document: bytes) -> Pointer:
    """The pointer in a document of one's own, its signature not looked at."""
    return _parsed(json.loads(json.loads(document)["pointer"]))


def _parsed(table: Any) -> Pointer:
    if not isinstance(table, dict) or table.keys() != {field.name for field in fields(Pointer)}:
        raise ValueError("fields")
    pointer = Pointer(**table)
    texts = (pointer.catalogue, pointer.release, pointer.run, pointer.manifest_hash)
    numbers = (pointer.serial, pointer.round, pointer.issued_at, *pointer.sizes.values())
    sound = (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int and 0 <= number < _LARGEST for number in numbers)
        and _HASH.fullmatch(pointer.manifest_hash)
        and pointer.reason in ("promoted", "rolled back")
    )
    if not sound:
        raise ValueError("values")
    return pointer
