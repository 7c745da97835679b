import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg.masks import Words, word_type
from fedrec.secagg.words import packed_size, packed_words, unpacked_words


@st.composite
def _words(draw: st.DrawFn) -> tuple[Words, int]:
    bits = draw(st.integers(16, 32))
    values = draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40))
    return np.array(values, dtype=word_type(bits)), bits


def _bit_by_bit(words: Words, bits: int) -> bytes:
    """The format, word after word and bit after bit."""
    whole, left = divmod(bits, 8)
    packed = bytearray()
    for byte in range(whole):
        packed += bytes(int(word) >> 8 * byte & 0xFF for word in words)
    for bit in range(8 * whole, 8 * whole + left):
        row = "".join(str(int(word) >> bit & 1) for word in words)
        packed += bytes(int(row[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(row), 8))
    return bytes(packed)


@given(_words())
def test_words_are_written_as_planes_of_bytes_and_bits_and_read_again(given_words: tuple[Words, int]) -> None:
    words, bits = given_words
    packed = packed_words(words, bits=bits)
    assert packed == _bit_by_bit(words, bits)
    assert len(packed) == packed_size(words.size, bits=bits)
    read = unpacked_words(packed, size=words.size, bits=bits)
    assert read.dtype == word_type(bits)
    assert read.tolist() == words.tolist()


@given(st.integers(1, 40), st.integers(16, 32), st.binary(max_size=200))
def test_any_bytes_are_words_written_in_their_one_way_or_refused(size: int, bits: int, raw: bytes) -> None:
    raw = raw.ljust(packed_size(size, bits=bits), b"\x05")[: packed_size(size, bits=bits)]
    try:
        words = unpacked_words(raw, size=size, bits=bits)
    except ProtocolError:
        return
    assert int(words.max()) < 2**bits
    assert packed_words(words, bits=bits) == raw


@pytest.mark.parametrize("length", [0, 54, 56, 1000])
def test_another_length_is_refused(length: int) -> None:
    assert packed_size(20, bits=21) == 55
    with pytest.raises(ProtocolError, match=f"has 55 bytes, this one {length}"):
        unpacked_words(bytes(length), size=20, bits=21)


def test_sixteen_bits_take_half_the_bytes_of_thirty_two() -> None:
    assert packed_size(26_000, bits=16) == 52_000
    assert packed_size(26_000, bits=27) == 87_750
    assert packed_size(26_000, bits=32) == 104_000
