"""The directory of a catalogue: which identity key speaks for which client, signed by the releases' signer.

Devices of one cohort find each other's keys in it, so a server cannot put keys of its own
between them without its signature saying so, in a directory that it cannot take back.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedrec.errors import VerificationError

# A hundred thousand clients take ten of them.
LARGEST_DIRECTORY = 32 * 2**20
_FORMAT = "fedrec directory 1"
_PURPOSE = b"fedrec directory\n"
_KEY_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """serial: rises with every directory of a catalogue. entries: the identity key of each client, in hex."""

    catalogue: str
    serial: int
    entries: Mapping[int, str]

    def changed_since(self, earlier: "Directory") -> int:
        """How many clients that the earlier one knew have another key in this one."""
        known = earlier.entries.items()
        return sum(self.entries.get(client, key) != key for client, key in known)

    def content(self) -> bytes:
        """The bytes that are signed."""
        entries = [{"client": client, "identity_key": key} for client, key in sorted(self.entries.items())]
        table = {"format": _FORMAT, "catalogue": self.catalogue, "serial": self.serial, "entries": entries}
        return json.dumps(table, separators=(",", ":")).encode() + b"\n"


def signed_directory(directory: Directory, key: Ed25519PrivateKey) -> bytes:
    """The directory as devices fetch it: its signature in hex on the first line, its content on the second."""
    content = directory.content()
    return key.sign(_PURPOSE + content).hex().encode() + b"\n" + content


def read_directory(document: bytes, *, signer: Ed25519PublicKey) -> Directory:
    """The directory that this signer made; raises VerificationError for anything else."""
    try:
        if len(document) > LARGEST_DIRECTORY:
            raise ValueError("too long")
        line, _, content = document.partition(b"\n")
        signature = bytes.fromhex(line.decode("ascii"))
        if signature.hex().encode() != line:
            raise ValueError("another way of writing it")
        signer.verify(signature, _PURPOSE + content)
        return _directory(json.loads(content))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, InvalidSignature):
        raise VerificationError(
            "The directory of identity keys is damaged, or not of the pinned signer. Fetch it again; "
            "if that does not help, tell the operator."
        ) from None


def _directory(table: Mapping[str, Any]) -> Directory:
    if table["format"] != _FORMAT or type(table["serial"]) is not int or not isinstance(table["catalogue"], str):
        raise ValueError("another format")
    entries = {_client(entry["client"]): _key(entry["identity_key"]) for entry in table["entries"]}
    if len(entries) != len(table["entries"]) or len(set(entries.values())) != len(entries):
        raise ValueError("two of a kind")
    return Directory(catalogue=table["catalogue"], serial=table["serial"], entries=entries)


def _client(given: object) -> int:
    if type(given) is not int or given < 0:
        raise ValueError("no client")
    return given


def _key(given: object) -> str:
    if not isinstance(given, str) or len(given) != _KEY_DIGITS or bytes.fromhex(given).hex() != given:
        raise ValueError("no key")
    return given
