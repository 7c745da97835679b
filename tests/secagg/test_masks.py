import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedrec.errors import ProtocolError
from fedrec.secagg.keys import KeyPair
from fedrec.secagg.masks import Words, add_mask, mask, pair_mask_key, self_mask_key, subtract_mask, word_type
from tests.secagg import reference
from tests.secagg.reference import ALICE, BOB, ROSTER

SESSION = reference.session()
KEY = hashlib.sha256(b"mask").digest()
BITS = range(16, 33)
# Unlike these bounds, chance would fail a right stream once in ten thousand keys; the keys here are fixed.
_LEAST_CHANCE = 1e-4

_keys = st.binary(min_size=32, max_size=32)
_sizes = st.integers(0, 50_000)
_bits = st.integers(16, 32)


def _zeros_encrypted(key: bytes, *, length: int) -> bytes:
    """AES-256 in counter mode from zero, one block at a time."""
    blocks = b"".join(index.to_bytes(16, "big") for index in range((length + 15) // 16))
    cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (the block cipher itself)
    return cipher.encryptor().update(blocks)[:length]


@given(_keys, st.integers(0, 300), _bits)
def test_a_mask_is_the_low_bits_of_encrypted_zeros(key: bytes, size: int, bits: int) -> None:
    width = 2 if bits == 16 else 4
    stream = _zeros_encrypted(key, length=size * width)
    expected = [int.from_bytes(stream[i : i + width], "little") % 2**bits for i in range(0, size * width, width)]
    assert mask(key, size=size, bits=bits).tolist() == expected


@pytest.mark.parametrize("bits", [16, 23, 32])
def test_a_long_mask_is_one_stream_without_a_seam(bits: int) -> None:
    size = 70_000
    width = 2 if bits == 16 else 4
    stream = np.frombuffer(_zeros_encrypted(KEY, length=size * width), dtype=f"<u{width}")
    assert np.array_equal(mask(KEY, size=size, bits=bits), stream.astype(np.int64) % 2**bits)


@pytest.mark.parametrize("bits", BITS)
def test_a_mask_has_the_narrowest_words(bits: int) -> None:
    words = mask(KEY, size=5, bits=bits)
    assert words.dtype == word_type(bits) == (np.uint16 if bits == 16 else np.uint32)
    assert words.shape == (5,)


@pytest.mark.parametrize("bits", BITS)
def test_every_bit_of_a_mask_is_a_fair_coin_and_no_bit_is_above_the_modulus(bits: int) -> None:
    words = mask(KEY, size=100_000, bits=bits)
    assert int(words.max()) < 2**bits
    for bit in range(bits):
        ones = int(((words >> words.dtype.type(bit)) & words.dtype.type(1)).sum())
        assert abs(ones - 50_000) < 4.5 * np.sqrt(25_000)


@pytest.mark.parametrize("bits", BITS)
def test_masks_are_uniform_at_both_ends_of_the_words(bits: int) -> None:
    words = mask(KEY, size=100_000, bits=bits).astype(np.int64)
    for byte in (words >> (bits - 8), words & 255):
        assert chisquare(np.bincount(byte, minlength=256)).pvalue > _LEAST_CHANCE


@pytest.mark.parametrize("bits", BITS)
def test_an_input_under_a_mask_is_as_uniform_as_the_mask(bits: int) -> None:
    words = np.full(100_000, 5, dtype=word_type(bits))
    add_mask(words, key=KEY, bits=bits)
    assert chisquare(np.bincount(words.astype(np.int64) >> (bits - 8), minlength=256)).pvalue > _LEAST_CHANCE


def test_two_masks_are_unrelated() -> None:
    one, other = (mask(bytes([key]) * 32, size=100_000, bits=32).astype(np.float64) for key in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / np.sqrt(100_000)


@given(_keys, _keys, _sizes, _bits)
def test_a_mask_that_is_added_and_subtracted_leaves_the_words(one: bytes, other: bytes, size: int, bits: int) -> None:
    words = mask(one, size=size, bits=bits)
    before = words.copy()
    add_mask(words, key=other, bits=bits)
    assert np.array_equal(words, (before.astype(np.int64) + mask(other, size=size, bits=bits)) % 2**bits)
    subtract_mask(words, key=other, bits=bits)
    assert np.array_equal(words, before)


@given(_keys, _sizes, _bits)
def test_a_mask_that_is_subtracted_from_nothing_is_its_negative(key: bytes, size: int, bits: int) -> None:
    words: Words = np.zeros(size, dtype=word_type(bits))
    subtract_mask(words, key=key, bits=bits)
    assert np.array_equal(words, -mask(key, size=size, bits=bits).astype(np.int64) % 2**bits)


@pytest.mark.parametrize("bits", [15, 33, 0, -1])
def test_words_of_a_width_that_is_not_meant_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="16 to 32"):
        mask(KEY, size=1, bits=bits)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_that_is_not_whole_makes_no_mask(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        mask(key, size=1, bits=32)


@pytest.mark.parametrize(
    ("words", "bits"),
    [(np.zeros(3, np.uint32), 16), (np.zeros(3, np.uint16), 17), (np.zeros(3, np.int64), 32), (np.zeros((2, 2)), 32)],
)
def test_a_mask_is_not_added_to_other_words(words: Words, bits: int) -> None:
    for change in (add_mask, subtract_mask):
        with pytest.raises(ValueError, match="one row"):
            change(words, key=KEY, bits=bits)


def test_a_pair_key_is_hkdf_of_the_secret_bound_to_session_roster_and_pair() -> None:
    context = reference.frame(b"pair", SESSION.id, ROSTER, reference.number(3), reference.number(9))
    expected = reference.agreed(
        reference.THEIR_SECRET, purpose=b"pair mask", context=context, keys=(ALICE.public, BOB.public)
    )
    assert pair_mask_key(ALICE, other=BOB.public, session=SESSION, roster=ROSTER, pair=(3, 9)) == expected
    assert pair_mask_key(BOB, other=ALICE.public, session=SESSION, roster=ROSTER, pair=(9, 3)) == expected


def test_another_session_roster_pair_or_peer_has_another_key() -> None:
    keys = {
        pair_mask_key(ALICE, other=other, session=session, roster=roster, pair=pair)
        for other in (BOB.public, KeyPair.from_bytes(bytes(32)).public)
        for session in (SESSION, reference.session(number=4))
        for roster in (ROSTER, bytes(32))
        for pair in ((3, 9), (3, 10), (2, 9))
    }
    assert len(keys) == 2 * 2 * 2 * 3


def test_a_pair_is_two() -> None:
    with pytest.raises(ProtocolError, match="itself"):
        pair_mask_key(ALICE, other=BOB.public, session=SESSION, roster=ROSTER, pair=(3, 3))


def test_a_roster_hash_is_whole() -> None:
    with pytest.raises(ProtocolError, match="roster"):
        pair_mask_key(ALICE, other=BOB.public, session=SESSION, roster=b"", pair=(3, 4))


def test_a_self_mask_key_is_hkdf_of_the_seed_bound_to_session_and_client() -> None:
    context = reference.frame(b"self", SESSION.id, reference.number(4))
    expected = reference.hkdf(KEY, reference.frame(b"key", b"self mask", context))
    assert self_mask_key(KEY, session=SESSION, client=4) == expected
    assert self_mask_key(KEY, session=SESSION, client=5) != expected
    assert self_mask_key(KEY, session=reference.session(attempt="second"), client=4) != expected


def test_a_seed_that_is_not_whole_gives_no_self_mask() -> None:
    with pytest.raises(ProtocolError, match="seed has 32 bytes"):
        self_mask_key(bytes(31), session=SESSION, client=4)
