"""Pointers: what was signed comes back, and nothing else that this key ever signed is one."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import VerificationError
from fedrec.pointer import Pointer, read_pointer, signed_pointer, stored_pointer
from fedrec.release import Manifest

KEY = Ed25519PrivateKey.generate()
POINTER = Pointer(
    catalogue="films",
    serial=7,
    release="9aac22fd9623b69b",
    manifest_hash="8" * 64,
    run="run-1",
    round=3,
    reason="promoted",
    issued_at=1_700_000_000,
    sizes={"adapter/adapter_model.safetensors": 2120},
)


def _signed_words(words: str, prefix: bytes = b"fedrec pointer 1\n") -> bytes:
    return json.dumps({"pointer": words, "signature": KEY.sign(prefix + words.encode()).hex()}).encode()


def test_a_signed_pointer_is_read_as_it_was() -> None:
    document = signed_pointer(POINTER, KEY)
    assert read_pointer(document, KEY.public_key()) == stored_pointer(document) == POINTER


def test_another_signers_pointer_is_refused() -> None:
    with pytest.raises(VerificationError, match="signature"):
        read_pointer(signed_pointer(POINTER, Ed25519PrivateKey.generate()), KEY.public_key())


def test_a_signature_of_a_manifest_is_none_of_a_pointer() -> None:
    words = POINTER.content().decode()
    with pytest.raises(VerificationError, match="signature"):
        read_pointer(_signed_words(words, prefix=b""), KEY.public_key())
    manifest = Manifest(id="x", files={}, lineage={}, privacy={}).content()
    document = json.dumps({"pointer": manifest.decode(), "signature": KEY.sign(manifest).hex()}).encode()
    with pytest.raises(VerificationError):
        read_pointer(document, KEY.public_key())


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_bit_that_is_not_as_it_was_is_noticed_or_means_nothing(place: int, bit: int) -> None:
    document = bytearray(signed_pointer(POINTER, KEY))
    document[place % len(document)] ^= 1 << bit
    try:
        assert read_pointer(bytes(document), KEY.public_key()) == POINTER
    except VerificationError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=300))
def test_bytes_at_random_are_no_pointer(document: bytes) -> None:
    with pytest.raises(VerificationError):
        read_pointer(document, KEY.public_key())


@pytest.mark.parametrize(
    "change",
    [
        {"serial": -1},
        {"serial": True},
        {"serial": 1.5},
        {"serial": 1 << 60},
        {"serial": "7"},
        {"round": None},
        {"manifest_hash": "8" * 63},
        {"manifest_hash": "../" + "8" * 61},
        {"reason": "because"},
        {"sizes": {"a": -1}},
        {"sizes": {"a": "1"}},
        {"sizes": []},
        {"catalogue": 3},
        {"extra": 1},
    ],
)
def test_a_signer_who_signs_nonsense_is_not_followed(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="cannot be read"):
        read_pointer(_signed_words(json.dumps(asdict(POINTER) | change)), KEY.public_key())


def test_a_pointer_that_lacks_something_is_not_followed() -> None:
    table = asdict(POINTER)
    del table["sizes"]
    with pytest.raises(VerificationError):
        read_pointer(_signed_words(json.dumps(table)), KEY.public_key())


def test_what_is_nested_without_end_is_one_line() -> None:
    with pytest.raises(VerificationError):
        read_pointer(b"[" * 200_000, KEY.public_key())


def test_a_pointer_names_its_own_content() -> None:
    assert POINTER.content() != replace(POINTER, serial=8).content()
