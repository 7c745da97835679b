"""What hides a client's words: a key stream of AES-256 in counter mode, as words modulo a power of two.

A key is used for one mask only, which is why the counter starts at zero. A pair's mask is added by one of the two
and subtracted by the other; a client's own is taken off by the server, if the client survives.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from fedrec.secagg.framing import framed, require_length, require_number, require_pair, require_roster
from fedrec.secagg.keys import KEY_BYTES, KeyPair, Session, agree, derive

Words = npt.NDArray[np.uint32] | npt.NDArray[np.uint16]
LEAST_BITS, MOST_BITS = 16, 32
# Of the stream at a time: it stays in the processor's cache.
_ZEROS = bytes(2**16)


def mask(key: bytes, *, size: int, bits: int) -> Words:
    """Words that are uniform modulo 2^bits and follow from the key.

    uint16 for 16 bits, else uint32. Never use a key for a second size, number of bits, or input.

    >>> mask(bytes(32), size=2, bits=16).tolist()
    [38364, 30912]
    """
    words = np.zeros(size, dtype=word_type(bits))
    add_mask(words, key=key, bits=bits)
    return words


def add_mask(words: Words, *, key: bytes, bits: int) -> None:
    """Add the key's mask to the words, modulo 2^bits, in place."""
    for part, stream in _blocks(words, key=key, bits=bits):
        part += stream
        part &= part.dtype.type(2**bits - 1)


def subtract_mask(words: Words, *, key: bytes, bits: int) -> None:
    """Take the key's mask off the words, modulo 2^bits, in place."""
    for part, stream in _blocks(words, key=key, bits=bits):
        part -= stream
        part &= part.dtype.type(2**bits - 1)


def pair_mask_key(own: KeyPair, *, other: bytes, session: Session, roster: bytes, pair: tuple[int, int]) -> bytes:
    """The key of the mask that two clients share in this session and roster; the same for both.

    pair: their numbers, in any order. own, other: their mask keys.
    """
    require_pair(*pair)
    require_roster(roster)
    context = framed("pair", session.id, roster, min(pair), max(pair))
    return agree(own, other=other, purpose="pair mask", context=context)


def self_mask_key(seed: bytes, *, session: Session, client: int) -> bytes:
    """The key of a client's own mask in this session; ProtocolError unless the seed has 32 bytes."""
    require_length(seed, KEY_BYTES, what="self-mask seed")
    require_number(client, what="client")
    return derive(seed, purpose="self mask", context=framed("self", session.id, client))


def word_type(bits: int) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
    """The narrowest words that hold numbers modulo 2^bits."""
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"Words have {LEAST_BITS} to {MOST_BITS} bits, not {bits}.")
    return np.dtype("<u2") if bits == LEAST_BITS else np.dtype("<u4")


def _blocks(words: Words, *, key: bytes, bits: int) -> Iterator[tuple[Words, Words]]:
    """Views of the words one after the other, each with its part of the key's stream."""
    kind = word_type(bits)
    if words.dtype != kind or words.ndim != 1:
        raise ValueError(f"Words of {bits} bits are one row of {kind.name}, not {words.ndim} of {words.dtype.name}.")
    if len(key) != KEY_BYTES:
        raise ValueError(f"A mask's key has {KEY_BYTES} bytes, not {len(key)}.")
    cipher = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    step = len(_ZEROS) // kind.itemsize
    for start in range(0, words.size, step):
        part = words[start : start + step]
        stream: npt.NDArray[Any] = np.frombuffer(cipher.update(_ZEROS[: part.nbytes]), dtype=words.dtype)
        yield part, stream
