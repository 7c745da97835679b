"""Words on their way: as many bits of each as the sum is taken modulo, in whole bytes first, then bit by bit.

Planes of bytes and bits, not words one after the other: numpy packs them at the speed of memory.
"""

import numpy as np
import numpy.typing as npt

from fedrec.errors import ProtocolError
from fedrec.secagg.masks import Words, word_type


def packed_words(words: Words, *, bits: int) -> bytes:
    """The words' low `bits`, in `packed_size` bytes.

    >>> packed_words(np.array([1, 2, 2**17], np.uint32), bits=18).hex()
    '0102000000000020'
    """
    kind = word_type(bits)
    planes = words.astype(kind, copy=False).view(np.uint8).reshape(words.size, kind.itemsize)
    whole, left = divmod(bits, 8)
    packed = planes[:, :whole].T.tobytes()
    if left:
        rest = planes[:, whole]
        packed += b"".join(np.packbits(rest >> bit & 1).tobytes() for bit in range(left))
    return packed


def unpacked_words(packed: bytes, *, size: int, bits: int) -> Words:
    """The words that were packed; ProtocolError unless these bytes are the one way of writing so many."""
    if len(packed) != packed_size(size, bits=bits):
        raise ProtocolError(
            f"A masked input of {size} words of {bits} bits has {packed_size(size, bits=bits)} bytes, this one "
            f"{len(packed)}. Leave its sender out."
        )
    kind, (whole, left) = word_type(bits), divmod(bits, 8)
    planes = np.zeros((size, kind.itemsize), dtype=np.uint8)
    planes[:, :whole] = np.frombuffer(packed, np.uint8, whole * size).reshape(whole, size).T
    rows = np.frombuffer(packed, np.uint8, offset=whole * size).reshape(left, (size + 7) // 8)
    for bit, row in enumerate(rows):
        planes[:, whole] |= _bits(row, size=size) << bit
    words: Words = planes.view(kind).reshape(size)
    return words


def packed_size(size: int, *, bits: int) -> int:
    """The bytes that so many packed words have."""
    whole, left = divmod(bits, 8)
    return whole * size + left * ((size + 7) // 8)


def _bits(row: npt.NDArray[np.uint8], *, size: int) -> npt.NDArray[np.uint8]:
    found = np.unpackbits(row)
    if found[size:].any():
        raise ProtocolError("A masked input has bits after its last word. Leave its sender out.")
    return found[:size]
