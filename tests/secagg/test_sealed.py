from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg.keys import KeyPair, agree
from fedrec.secagg.masks import pair_mask_key
from fedrec.secagg.sealed import SEALED_BYTES, PeerShares, seal, unseal
from fedrec.secagg.shares import LARGEST_POINT, PRIME, SHARE_BYTES, split
from tests.secagg import reference
from tests.secagg.reference import ALICE, BOB, ROSTER

EVE = KeyPair.fresh()
SESSION = reference.session()
BOUND: dict[str, Any] = {"session": SESSION, "roster": ROSTER, "sender": 1, "receiver": 2}
SHARES = PeerShares(point=7, mask_share=b"\x00" + b"m" * 32, seed_share=b"\x00" + b"s" * 32)
SEALED = seal(SHARES, own=ALICE, other=BOB.public, **BOUND)

_values = st.one_of(st.integers(0, PRIME - 1), st.sampled_from([0, PRIME - 1]))
_numbers = st.integers(0, 2**63 - 1)


def _encoded(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "big")


@given(st.integers(1, LARGEST_POINT), _values, _values, _numbers, _numbers)
def test_the_receiver_opens_what_the_sender_sealed(
    point: int, mask_value: int, seed_value: int, sender: int, receiver: int
) -> None:
    if sender == receiver:
        return
    shares = PeerShares(point=point, mask_share=_encoded(mask_value), seed_share=_encoded(seed_value))
    bound: dict[str, Any] = {"session": SESSION, "roster": ROSTER, "sender": sender, "receiver": receiver}
    sealed = seal(shares, own=ALICE, other=BOB.public, **bound)
    assert len(sealed) == SEALED_BYTES == 98
    assert unseal(sealed, own=BOB, other=ALICE.public, **bound) == shares


def test_sealed_shares_are_chacha20_poly1305_under_a_key_of_their_direction() -> None:
    bound = reference.frame(b"shares", SESSION.id, ROSTER, reference.number(1), reference.number(2))
    key = reference.agreed(
        reference.THEIR_SECRET, purpose=b"sealed shares", context=bound, keys=(ALICE.public, BOB.public)
    )
    opened = ChaCha20Poly1305(key).decrypt(SEALED[:12], SEALED[12:], bound)
    assert opened == (7).to_bytes(4, "big") + SHARES.mask_share + SHARES.seed_share


@pytest.mark.parametrize(
    "changed",
    [
        {"session": reference.session(run="other")},
        {"session": reference.session(number=4)},
        {"session": reference.session(attempt="second")},
        {"roster": bytes(32)},
        {"sender": 3},
        {"receiver": 3},
        {"sender": 2, "receiver": 1},
        {"own": EVE},
        {"other": EVE.public},
        {"own": EVE, "other": BOB.public},
    ],
    ids=["run", "round", "token", "roster", "sender", "receiver", "direction", "thief", "forged", "stranger"],
)
def test_nobody_opens_them_elsewhere(changed: dict[str, Any]) -> None:
    ends: dict[str, Any] = {"own": BOB, "other": ALICE.public}
    with pytest.raises(ProtocolError, match="damaged, or for another"):
        unseal(SEALED, **(ends | BOUND | changed))


def test_they_do_not_open_when_sent_back_to_their_sender() -> None:
    back = BOUND | {"sender": 2, "receiver": 1}
    with pytest.raises(ProtocolError, match="damaged"):
        unseal(SEALED, own=ALICE, other=BOB.public, **back)


@given(st.integers(0, SEALED_BYTES - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= change
    with pytest.raises(ProtocolError, match="damaged"):
        unseal(bytes(damaged), own=BOB, other=ALICE.public, **BOUND)


@given(st.binary(max_size=2 * SEALED_BYTES))
def test_garbage_of_any_length_is_refused(garbage: bytes) -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        unseal(garbage, own=BOB, other=ALICE.public, **BOUND)


@pytest.mark.parametrize(
    "sealed",
    [None, "a" * SEALED_BYTES, SEALED + b"\x00", SEALED[:-1], 98],
    ids=["nothing", "text", "longer", "shorter", "a number"],
)
def test_what_has_another_length_or_is_no_bytes_is_refused(sealed: object) -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        unseal(sealed, own=BOB, other=ALICE.public, **BOUND)  # type: ignore[arg-type]


def test_what_was_sealed_twice_differs_and_both_open() -> None:
    again = seal(SHARES, own=ALICE, other=BOB.public, **BOUND)
    assert again[:12] != SEALED[:12]
    assert unseal(again, own=BOB, other=ALICE.public, **BOUND) == unseal(SEALED, own=BOB, other=ALICE.public, **BOUND)


@pytest.mark.parametrize(
    ("point", "mask_value", "seed_value"),
    [(0, 1, 1), (1, PRIME, 1), (1, 1, PRIME), (1, 2**264 - 1, 1)],
    ids=["the secret's point", "mask share", "seed share", "largest"],
)
def test_a_malformed_share_is_refused_although_its_sender_sealed_it(
    point: int, mask_value: int, seed_value: int
) -> None:
    bound = reference.frame(b"shares", SESSION.id, ROSTER, reference.number(1), reference.number(2))
    key = agree(ALICE, other=BOB.public, purpose="sealed shares", context=bound)
    content = point.to_bytes(4, "big") + _encoded(mask_value) + _encoded(seed_value)
    sealed = bytes(12) + ChaCha20Poly1305(key).encrypt(bytes(12), content, bound)
    with pytest.raises(ProtocolError):
        unseal(sealed, own=BOB, other=ALICE.public, **BOUND)


@pytest.mark.parametrize("other", [bytes(32), b"\xff" * 32, b"", BOB.public])
def test_nothing_is_sealed_to_a_key_that_others_know(other: bytes) -> None:
    with pytest.raises(ProtocolError):
        seal(SHARES, own=BOB, other=other, **BOUND)


@pytest.mark.parametrize("changed", [{"sender": 2}, {"sender": -1}, {"receiver": 2**63}, {"roster": b""}])
def test_nothing_is_sealed_to_itself_to_nobody_or_without_a_roster(changed: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        seal(SHARES, own=ALICE, other=BOB.public, **(BOUND | changed))


def test_keys_of_the_two_directions_and_of_the_mask_differ_even_where_the_key_pairs_are_the_same() -> None:
    keys = {
        agree(
            ALICE,
            other=BOB.public,
            purpose="sealed shares",
            context=reference.frame(b"shares", SESSION.id, ROSTER, reference.number(one), reference.number(two)),
        )
        for one, two in ((1, 2), (2, 1))
    }
    keys.add(pair_mask_key(ALICE, other=BOB.public, session=SESSION, roster=ROSTER, pair=(1, 2)))
    assert len(keys) == 3


@pytest.mark.parametrize("shown", [repr, str, "{}".format, lambda shares: repr([shares])])
def test_shares_show_their_point_alone(shown: Callable[[PeerShares], str]) -> None:
    one, other = (split(b"secret" * 5 + b"!!", threshold=1, points=[7])[7] for _ in range(2))
    text = shown(PeerShares(point=7, mask_share=one, seed_share=other))
    assert "PeerShares(point=7)" in text
    assert "secret" not in text
    assert one.hex() not in text


def test_a_refusal_shows_no_bytes_of_the_message() -> None:
    with pytest.raises(ProtocolError) as refusal:
        unseal(SEALED[:-1] + b"\x00", own=EVE, other=ALICE.public, **BOUND)
    assert SEALED.hex()[:8] not in str(refusal.value)
    assert refusal.value.__cause__ is None
