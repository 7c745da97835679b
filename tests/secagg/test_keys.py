import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg.keys import (
    KeyPair,
    Session,
    advertise,
    agree,
    commitment,
    verify_advert,
)
from tests.secagg import reference
from tests.secagg.reference import ALICE, BOB

SESSION = reference.session()
OTHER_SESSIONS = [
    reference.session(run="other"),
    reference.session(number=4),
    reference.session(attempt="second"),
]
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IDENTITY_KEY = IDENTITY.public_key().public_bytes_raw()
ADVERT = advertise(SESSION, client=7, mask=ALICE, cipher=BOB, identity=IDENTITY)
FIELD = reference.FIELD
# Every point of small order on the curve and its twist, by its x: Bernstein 2006, "Curve25519".
LOW_ORDER = {
    "order 2": 0,
    "order 4": 1,
    "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order 8, the other": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
    "order 4 on the twist": FIELD - 1,
}
NOT_CANONICAL = [FIELD, FIELD + 1, 2**255 - 1, 2**255, 2**255 + 9, 2**256 - 1]


def _point(coordinate: int) -> bytes:
    return coordinate.to_bytes(32, "little")


def test_a_session_id_is_a_hash_of_its_three_parts() -> None:
    assert SESSION.id == reference.session_id(b"study", 3, b"first")


_SESSIONS = st.builds(Session, run=st.text("ab", max_size=3), round=st.integers(0, 2), token=st.text("ab", max_size=3))


@given(_SESSIONS, _SESSIONS)
def test_two_sessions_have_the_same_id_only_if_they_are_the_same(one: Session, other: Session) -> None:
    assert (one.id == other.id) == (one == other)


@pytest.mark.parametrize(
    "parts", [{"round": -1}, {"round": 2**63}, {"round": 1.0}, {"run": b"a"}, {"run": "a" * 2_000}, {"token": "\ud800"}]
)
def test_a_session_that_cannot_be_written_down_is_refused(parts: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        Session(**({"run": "a", "round": 1, "token": "b"} | parts))  # type: ignore[arg-type]


def test_a_key_pair_comes_back_from_its_private_key() -> None:
    fresh = KeyPair.fresh()
    assert KeyPair.from_bytes(fresh.private).public == fresh.public
    assert (ALICE.private, ALICE.public) == (reference.ALICE_PRIVATE, reference.ALICE_PUBLIC)


@pytest.mark.parametrize("private", [b"", bytes(31), bytes(33), None])
def test_a_private_key_of_another_length_is_refused(private: object) -> None:
    with pytest.raises(ProtocolError, match="private key has 32 bytes"):
        KeyPair.from_bytes(private)  # type: ignore[arg-type]


@pytest.mark.parametrize("shown", [repr, str, "{}".format, lambda pair: repr([pair])])
def test_a_key_pair_shows_none_of_its_keys(shown: Callable[[KeyPair], str]) -> None:
    text = shown(ALICE)
    for key in (ALICE.private, ALICE.public):
        assert key.hex() not in text
        assert repr(key)[2:12] not in text


def test_an_agreement_is_hkdf_of_the_x25519_secret_of_rfc_7748() -> None:
    expected = reference.agreed(
        reference.THEIR_SECRET,
        purpose=b"example",
        context=b"context",
        keys=(reference.ALICE_PUBLIC, reference.BOB_PUBLIC),
    )
    assert agree(ALICE, other=BOB.public, purpose="example", context=b"context") == expected
    assert agree(BOB, other=ALICE.public, purpose="example", context=b"context") == expected


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_any_two_agree_on_what_the_plain_ladder_gives(one: bytes, other: bytes) -> None:
    first, second = KeyPair.from_bytes(one), KeyPair.from_bytes(other)
    if first.public == second.public:
        return
    secret = reference.x25519(one, second.public)
    expected = reference.agreed(secret, purpose=b"p", context=b"c", keys=(first.public, second.public))
    assert agree(first, other=second.public, purpose="p", context=b"c") == expected
    assert agree(second, other=first.public, purpose="p", context=b"c") == expected


def test_another_purpose_context_or_peer_gives_another_key() -> None:
    keys = {
        agree(ALICE, other=other, purpose=purpose, context=context)
        for other in (BOB.public, KeyPair.from_bytes(bytes(32)).public)
        for purpose in ("one", "two")
        for context in (b"", b"c", b"cc")
    }
    assert len(keys) == 2 * 2 * 3


@pytest.mark.parametrize("coordinate", LOW_ORDER.values(), ids=LOW_ORDER)
def test_a_point_of_low_order_is_refused_as_openssl_would(coordinate: int) -> None:
    assert reference.x25519(reference.ALICE_PRIVATE, _point(coordinate)) == bytes(32)
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(_point(coordinate)))
    with pytest.raises(ProtocolError, match="low order"):
        agree(ALICE, other=_point(coordinate), purpose="p", context=b"")


@pytest.mark.parametrize("coordinate", NOT_CANONICAL)
def test_a_second_way_of_writing_a_point_is_refused(coordinate: int) -> None:
    with pytest.raises(ProtocolError, match="canonical"):
        agree(ALICE, other=_point(coordinate), purpose="p", context=b"")


@pytest.mark.parametrize("other", [b"", bytes(31), bytes(33), "a" * 32, None, bytearray(range(32))])
def test_a_point_of_another_length_or_kind_is_refused(other: object) -> None:
    with pytest.raises(ProtocolError, match="public key has 32 bytes"):
        agree(ALICE, other=other, purpose="p", context=b"")  # type: ignore[arg-type]


def test_a_public_key_sent_back_to_its_owner_is_refused() -> None:
    with pytest.raises(ProtocolError, match="own"):
        agree(ALICE, other=ALICE.public, purpose="p", context=b"")


def test_an_advert_is_verified_in_its_session() -> None:
    verify_advert(ADVERT, session=SESSION, identity_key=IDENTITY_KEY)
    content = reference.frame(b"advert", SESSION.id, reference.number(7), ALICE.public, BOB.public)
    IDENTITY.public_key().verify(ADVERT.signature, content)


@pytest.mark.parametrize("session", OTHER_SESSIONS)
def test_an_advert_of_another_session_is_refused(session: Session) -> None:
    with pytest.raises(ProtocolError, match="not signed"):
        verify_advert(ADVERT, session=session, identity_key=IDENTITY_KEY)


@pytest.mark.parametrize(
    "changed",
    [
        {"client": 8},
        {"mask_key": KeyPair.fresh().public},
        {"cipher_key": KeyPair.fresh().public},
        {"mask_key": BOB.public, "cipher_key": ALICE.public},
        {"signature": bytes(64)},
    ],
    ids=["client", "mask key", "cipher key", "swapped", "signature"],
)
def test_a_changed_advert_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match="not signed"):
        verify_advert(replace(ADVERT, **changed), session=SESSION, identity_key=IDENTITY_KEY)  # type: ignore[arg-type]


def test_an_advert_signed_by_another_identity_is_refused() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(ProtocolError, match="client 7"):
        verify_advert(ADVERT, session=SESSION, identity_key=other)


@pytest.mark.parametrize(
    "changed",
    [{"client": -1}, {"client": True}, {"mask_key": b""}, {"cipher_key": bytes(32)}, {"signature": bytes(63)}]
    + [{name: _point(value)} for name in ("mask_key", "cipher_key") for value in (*LOW_ORDER.values(), *NOT_CANONICAL)],
)
def test_a_malformed_advert_is_refused_before_any_key_is_agreed(changed: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        verify_advert(replace(ADVERT, **changed), session=SESSION, identity_key=IDENTITY_KEY)  # type: ignore[arg-type]


def test_one_key_for_two_uses_is_refused_although_it_is_signed() -> None:
    advert = advertise(SESSION, client=7, mask=ALICE, cipher=ALICE, identity=IDENTITY)
    with pytest.raises(ProtocolError, match="one key for two uses"):
        verify_advert(advert, session=SESSION, identity_key=IDENTITY_KEY)


@pytest.mark.parametrize("identity_key", [b"", bytes(31), b"\xff" * 32, None])
def test_an_identity_key_that_is_none_vouches_for_nothing(identity_key: object) -> None:
    with pytest.raises(ProtocolError):
        verify_advert(ADVERT, session=SESSION, identity_key=identity_key)  # type: ignore[arg-type]


def test_a_commitment_is_a_hash_of_seed_session_and_client() -> None:
    seed = bytes(range(32))
    content = reference.frame(b"commitment", SESSION.id, reference.number(4), seed)
    assert commitment(seed, session=SESSION, client=4) == hashlib.sha256(content).digest()


def test_a_commitment_binds_to_the_seed_the_session_and_the_client() -> None:
    commitments = {
        commitment(seed, session=session, client=client)
        for seed in (bytes(32), bytes(31) + b"\x01")
        for session in (SESSION, *OTHER_SESSIONS)
        for client in (1, 2)
    }
    assert len(commitments) == 2 * 4 * 2


def test_a_commitment_to_something_else_than_a_seed_is_refused() -> None:
    with pytest.raises(ProtocolError, match="seed has 32 bytes"):
        commitment(bytes(16), session=SESSION, client=1)
