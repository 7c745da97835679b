"""An enrolment request: only whoever holds the keys can make one, and nothing in it can be exchanged."""

import base64
import contextlib
import json
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fedrec.enrolment import LARGEST_REQUEST, EnrolmentRequest, fingerprint, read_request, signed_request, ssh_line
from fedrec.errors import VerificationError

NODE, OTHER_NODE = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
IDENTITY, OLD, OTHER = (Ed25519PrivateKey.generate() for _ in range(3))


def key_of(identity: Ed25519PrivateKey) -> str:
    return identity.public_key().public_bytes_raw().hex()


REQUEST = EnrolmentRequest(
    node_key=ssh_line(NODE.public_key()), identity_key=key_of(IDENTITY), nonce="0f" * 16, made_at=1_700_000_000
)
ROTATION = replace(REQUEST, replaces=key_of(OLD))
SIGNED = signed_request(REQUEST, node=NODE, identity=IDENTITY)
SIGNED_ROTATION = signed_request(ROTATION, node=NODE, identity=IDENTITY, replaced=OLD)


def changed(content: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(content), **fields}).encode()


def compressed(node_key: str) -> str:
    """A key's line with its point as one coordinate and a sign."""
    kind, content = node_key.split()
    point = NODE.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    whole = NODE.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    blob = base64.b64decode(content)
    framed = [len(each).to_bytes(4, "big") + each for each in (whole, point)]
    assert framed[0] in blob
    return f"{kind} {base64.b64encode(blob.replace(*framed)).decode()}"


def test_a_request_is_read_as_it_was_made() -> None:
    assert read_request(SIGNED) == REQUEST
    assert read_request(SIGNED_ROTATION) == ROTATION


@pytest.mark.parametrize(
    "forged",
    [
        signed_request(REQUEST, node=OTHER_NODE, identity=IDENTITY),
        signed_request(REQUEST, node=NODE, identity=OTHER),
        signed_request(ROTATION, node=NODE, identity=IDENTITY, replaced=OTHER),
        signed_request(ROTATION, node=NODE, identity=IDENTITY),
        changed(SIGNED, nonce="00" * 16),
        changed(SIGNED, made_at=1),
        changed(SIGNED, replaces=key_of(OLD)),
        changed(SIGNED_ROTATION, replaces=None),
        changed(SIGNED, node_key=ssh_line(OTHER_NODE.public_key())),
        changed(SIGNED, identity_key=key_of(OTHER)),
    ],
)
def test_a_request_that_a_key_in_it_did_not_sign_is_refused(forged: bytes) -> None:
    with pytest.raises(VerificationError):
        read_request(forged)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b" " * LARGEST_REQUEST + SIGNED,
        changed(SIGNED, format="fedrec enrolment 2"),
        changed(SIGNED, more=1),
        changed(SIGNED, made_at=True),
        changed(SIGNED, identity_key=key_of(IDENTITY).upper()),
        changed(SIGNED, node_key=f"{REQUEST.node_key} somebody@somewhere"),
        changed(SIGNED, node_key=ssh_line(ec.generate_private_key(ec.SECP256R1()).public_key())),
        changed(SIGNED, node_key=compressed(REQUEST.node_key)),
        changed(SIGNED, signatures=None),
        changed(SIGNED, signatures={"node": "zz", "identity": "zz"}),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(odd: bytes) -> None:
    with pytest.raises(VerificationError) as refused:
        read_request(odd)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=200), st.integers(0, len(SIGNED) - 1))
def test_bytes_of_a_stranger_are_refused_and_never_a_crash(junk: bytes, place: int) -> None:
    damaged = SIGNED[:place] + junk + SIGNED[place:]
    with contextlib.suppress(VerificationError):
        assert read_request(damaged) == REQUEST


def test_the_words_of_two_keys_are_the_same_in_every_request_for_them_and_only_there() -> None:
    words = fingerprint(REQUEST)
    assert re.fullmatch(r"([a-z]{5}-){4}[a-z]{5}", words)
    assert fingerprint(replace(REQUEST, nonce="11" * 16, made_at=2)) == words
    assert fingerprint(replace(REQUEST, identity_key=key_of(OTHER))) != words
    assert fingerprint(replace(REQUEST, node_key=ssh_line(OTHER_NODE.public_key()))) != words
