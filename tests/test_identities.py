"""The directory of identity keys: read as it was signed, or not at all."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import VerificationError
from fedrec.identities import Directory, read_directory, signed_directory

SIGNER = Ed25519PrivateKey.generate()
EMPTY = Directory(catalogue="films", serial=1, entries={})
KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.integers(0, 2**40), st.dictionaries(st.integers(0, 10**6), KEYS, max_size=20))
def test_a_directory_is_read_as_it_was_signed(serial: int, entries: dict[int, str]) -> None:
    if len(set(entries.values())) == len(entries):
        directory = Directory(catalogue="films", serial=serial, entries=entries)
        assert read_directory(signed_directory(directory, SIGNER), signer=SIGNER.public_key()) == directory


def test_a_directory_of_another_signer_is_refused() -> None:
    with pytest.raises(VerificationError):
        read_directory(signed_directory(EMPTY, Ed25519PrivateKey.generate()), signer=SIGNER.public_key())


@given(st.integers(0, 300), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    document = bytearray(signed_directory(EMPTY, SIGNER))
    document[place % len(document)] ^= change
    with pytest.raises(VerificationError):
        read_directory(bytes(document), signer=SIGNER.public_key())


def test_a_signature_for_another_purpose_is_none() -> None:
    content = EMPTY.content()
    with pytest.raises(VerificationError):
        read_directory(SIGNER.sign(content).hex().encode() + b"\n" + content, signer=SIGNER.public_key())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "fedrec directory 2"},
        {"serial": "1"},
        {"serial": True},
        {"catalogue": 1},
        {"entries": [{"client": 0, "identity_key": "00" * 32}, {"client": 0, "identity_key": "11" * 32}]},
        {"entries": [{"client": 0, "identity_key": "00" * 32}, {"client": 1, "identity_key": "00" * 32}]},
        {"entries": [{"client": -1, "identity_key": "00" * 32}]},
        {"entries": [{"client": 0, "identity_key": "AB" * 32}]},
        {"entries": [{"client": 0}]},
        {"entries": None},
    ],
)
def test_what_a_careless_signer_says_twice_or_unsoundly_is_refused(change: dict[str, object]) -> None:
    content = json.dumps(json.loads(EMPTY.content()) | change).encode()
    signature = SIGNER.sign(b"fedrec directory\n" + content).hex().encode()
    with pytest.raises(VerificationError):
        read_directory(signature + b"\n" + content, signer=SIGNER.public_key())
