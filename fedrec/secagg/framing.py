"""How what is signed, hashed or derived is written down, and what a number, a pair or a hash must look like."""

import hashlib

from fedrec.errors import ProtocolError

LARGEST_NUMBER = 2**63 - 1
# In front of everything framed: no other signature or hash of fedrec starts like it.
_FORMAT = b"fedrec secagg 1 "


def framed(purpose: str, *parts: bytes | str | int) -> bytes:
    """One way of writing the parts for one purpose: no other parts, and no other purpose, give the same bytes.

    A purpose always comes with the same number and kinds of parts; a number has eight bytes.

    >>> framed("example", "ab", "c") == framed("example", "a", "bc")
    False
    """
    pieces = [_raw(part) for part in parts]
    return _FORMAT + purpose.encode() + b"\n" + b"".join(len(piece).to_bytes(4) + piece for piece in pieces)


def _raw(part: bytes | str | int) -> bytes:
    if isinstance(part, int):
        return part.to_bytes(8)
    return part.encode() if isinstance(part, str) else bytes(part)


def require_roster(roster: bytes) -> None:
    """Raise ProtocolError unless it has the length of a roster's hash."""
    require_length(roster, hashlib.sha256().digest_size, what="roster hash")


def require_pair(one: int, other: int) -> None:
    """Raise ProtocolError unless these are two different clients."""
    require_number(one, what="client")
    require_number(other, what="client")
    if one == other:
        raise ProtocolError(f"A message of client {one} is meant for itself. Refuse it.")


def require_number(number: int, *, what: str) -> None:
    """Raise ProtocolError unless it is a whole number that eight bytes hold."""
    if type(number) is not int or not 0 <= number <= LARGEST_NUMBER:
        raise ProtocolError(f"A {what} is a whole number from 0 to 2^63 - 1. Refuse the message that says another.")


def require_length(given: bytes, length: int, *, what: str) -> None:
    """Raise ProtocolError unless these are so many bytes."""
    if not isinstance(given, bytes) or len(given) != length:
        size = f"{len(given)} bytes" if isinstance(given, bytes) else "no bytes"
        raise ProtocolError(f"A {what} has {length} bytes, this one {size}. Leave its sender out.")
