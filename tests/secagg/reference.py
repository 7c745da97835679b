"""The protocol's primitives once more, in a few plain lines each, to hold the real ones against."""

import hashlib
import hmac
from collections.abc import Mapping
from fractions import Fraction

from fedrec.secagg.keys import KeyPair, Session

PRIME = 2**256 + 297
FIELD = 2**255 - 19
# RFC 7748, section 6.1.
ALICE_PRIVATE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB_PRIVATE = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
THEIR_SECRET = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
ALICE = KeyPair.from_bytes(ALICE_PRIVATE)
BOB = KeyPair.from_bytes(BOB_PRIVATE)
ROSTER = hashlib.sha256(b"roster").digest()


def session(run: str = "study", number: int = 3, attempt: str = "first") -> Session:
    return Session(run=run, round=number, token=attempt)


def frame(purpose: bytes, *parts: bytes) -> bytes:
    return b"fedrec secagg 1 " + purpose + b"\n" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def session_id(run: bytes, round_: int, token: bytes) -> bytes:
    return hashlib.sha256(frame(b"session", run, number(round_), token)).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def agreed(secret: bytes, *, purpose: bytes, context: bytes, keys: tuple[bytes, bytes]) -> bytes:
    return hkdf(secret, frame(b"key", purpose, context + b"".join(sorted(keys))))


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5: the Montgomery ladder."""
    k = int.from_bytes(scalar, "little") & ~7 & (2**255 - 1) | 2**254
    x1 = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in reversed(range(255)):
        swap = k >> bit & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        total, less = x2 + z2, x2 - z2
        da, cb = (x3 - z3) * total, (x3 + z3) * less
        x3, z3 = (da + cb) ** 2 % FIELD, x1 * (da - cb) ** 2 % FIELD
        square, other = total**2, less**2
        x2, z2 = square * other % FIELD, (square - other) * (square + 121665 * (square - other)) % FIELD
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, FIELD - 2, FIELD) % FIELD).to_bytes(32, "little")


def value_at(point: int, values: Mapping[int, int]) -> int:
    """The value at a point of the polynomial through these, by Lagrange's formula in rational numbers."""
    total = 0
    for own, value in values.items():
        weight = Fraction(1)
        for other in values:
            if other != own:
                weight *= Fraction(point - other, own - other)
        total += value * weight.numerator * pow(weight.denominator, -1, PRIME)
    return total % PRIME
