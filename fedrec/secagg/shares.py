"""Secrets in shares, so many of which give the secret and fewer of which say nothing (Shamir 1979).

The field is that of the least prime over 2^256: any 32 bytes are a secret. Python's integers take a time that depends
on their values; shares are made and combined on machines that know the secret anyway, or are about to.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import prod
from operator import mul

from fedrec.errors import ProtocolError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
# Small points make the arithmetic fast; a cohort has fewer clients.
LARGEST_POINT = 2**32 - 1


def split(secret: bytes, *, threshold: int, points: Sequence[int]) -> dict[int, bytes]:
    """A share of the secret at each point; any `threshold` of them give it, fewer are independent of it.

    secret: 32 bytes. points: distinct, from 1, the smaller the faster. Randomness: the operating system's.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= len(points) or len(set(points)) != len(points):
        raise ValueError("A secret of 32 bytes is split to as many distinct points as its threshold, or more.")
    if not all(_is_point(point) for point in points):
        raise ValueError(f"A point is a whole number from 1 to {LARGEST_POINT}.")
    # Uniform over the whole field, zero included: else fewer shares than the threshold would rule a secret out.
    upper = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    coefficients = [*upper, int.from_bytes(secret)]
    return {point: _value(coefficients, point).to_bytes(SHARE_BYTES) for point in points}


def _value(coefficients: Iterable[int], point: int) -> int:
    """The polynomial's value at a point; the highest coefficient comes first."""
    value = 0
    for coefficient in coefficients:
        value = (value * point + coefficient) % PRIME
    return value


def combine(shares: Mapping[int, bytes], *, threshold: int) -> bytes:
    """The secret that the shares at the `threshold` lowest points give.

    A wrong share gives another secret, not an error: check what comes out against what its owner committed to.
    Raises ProtocolError if they are too few, or if one that is needed is malformed.
    """
    if not 1 <= threshold <= len(shares):
        raise ProtocolError(f"{len(shares)} shares of a secret came, {threshold} are needed. Refuse the round.")
    if not all(_is_point(point) for point in shares):
        raise ProtocolError(f"A share's point is not from 1 to {LARGEST_POINT}. Leave its sender out.")
    points = sorted(shares)[:threshold]
    values = [share_value(shares[point]) for point in points]
    terms = zip(values, _weights(points), strict=True)
    secret = sum(value * weight for value, weight in terms) * prod(points) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise ProtocolError("Shares of a secret do not fit together: one of them is wrong. Refuse the round.")
    return secret.to_bytes(SECRET_BYTES)


def share_value(share: bytes) -> int:
    """The number that a share holds; ProtocolError unless it is written in its one way."""
    if not isinstance(share, bytes) or len(share) != SHARE_BYTES or (value := int.from_bytes(share)) >= PRIME:
        raise ProtocolError(f"A share of a secret is not a number below its prime, in {SHARE_BYTES} bytes. Drop it.")
    return value


def _weights(points: Sequence[int]) -> list[int]:
    """What each value counts in the polynomial's value at zero, but for the product of all points."""
    return _inverses([point * prod([other - point for other in points if other != point]) for point in points])


def _inverses(numbers: Sequence[int]) -> list[int]:
    """One over each number, with a single inversion (Montgomery's trick): none of them is zero modulo the prime."""
    before = list(accumulate(numbers, lambda one, other: one * other % PRIME, initial=1))
    inverse, inverses = pow(before.pop(), -1, PRIME), []
    for number, product in zip(reversed(numbers), reversed(before), strict=True):
        inverses.append(mul(inverse, product) % PRIME)
        inverse = inverse * number % PRIME
    return inverses[::-1]


def _is_point(point: int) -> bool:
    return type(point) is int and 1 <= point <= LARGEST_POINT
