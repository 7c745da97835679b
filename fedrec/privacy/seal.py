"""The signed head of a ledger, beside it: a tail that was cut off, or a chain written anew, shows.

Whoever restores an older ledger together with its older seal is not caught here; the heads
in signed releases and the clients' own ledgers catch that.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedrec.errors import VerificationError
from fedrec.files import write_atomically

_PURPOSE = b"fedrec ledger head\n"


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs every new head of one ledger."""

    path: Path
    key: Ed25519PrivateKey

    def __call__(self, head: str) -> None:
        """Put the signed head on the disk."""
        signature = self.key.sign(_PURPOSE + head.encode()).hex()
        write_atomically(self.path, json.dumps({"head": head, "signature": signature}).encode() + b"\n")


def sealed_head(path: Path, key: Ed25519PublicKey) -> str | None:
    """The head that was sealed last; None where nothing was sealed yet.

    Raises VerificationError if the seal is damaged, or not of this key.
    """
    if not path.exists():
        return None
    try:
        seal = json.loads(path.read_text(encoding="utf-8"))
        head = str(seal["head"])
        key.verify(bytes.fromhex(seal["signature"]), _PURPOSE + head.encode())
    except (ValueError, KeyError, TypeError, RecursionError, InvalidSignature):
        raise VerificationError(
            f"{path} is damaged, or signed with another key. Restore ledger and seal from a copy."
        ) from None
    return head


def require_sealed(ledger: Path, heads: set[str], seal: Path, key: Ed25519PublicKey) -> None:
    """Raise VerificationError unless the ledger still holds what was sealed.

    heads: every head that the ledger has had, the empty one's included.
    """
    head = sealed_head(seal, key)
    # A ledger is sealed before its first entry and after each: it may be ahead of its seal, never behind.
    if head is None and len(heads) > 1:
        raise VerificationError(
            f"{seal} is missing. Restore ledger and seal from a copy; a ledger is never without it."
        )
    if head is not None and head not in heads:
        raise VerificationError(
            f"{ledger} does not lead to its sealed head {head[:12]}: entries were cut off or rewritten. "
            "Restore the ledger from a copy; nothing can be released on this one."
        )
