import hmac
from typing import Any

import pytest

from fedrec.errors import ProtocolError
from fedrec.secagg.keys import KeyPair
from fedrec.secagg.tokens import said, token, token_key
from tests.secagg import reference
from tests.secagg.reference import ALICE, BOB, ROSTER

SESSION = reference.session()
ABOUT = bytes(range(32))
KEY = token_key(ALICE, other=BOB.public, session=SESSION, roster=ROSTER, pair=(1, 2))


def test_a_token_is_a_code_under_a_key_of_the_pair() -> None:
    session = reference.session_id(b"study", 3, b"first")
    context = reference.frame(b"tokens", session, ROSTER, reference.number(1), reference.number(2))
    keys = (ALICE.public, BOB.public)
    key = reference.agreed(reference.THEIR_SECRET, purpose=b"tokens", context=context, keys=keys)
    assert key == KEY
    said_so = reference.frame(b"included", reference.number(1), reference.number(2), ABOUT)
    assert token(KEY, saying="included", sender=1, receiver=2, about=ABOUT) == hmac.digest(key, said_so, "sha256")[:16]


def test_both_have_the_key_and_believe_what_is_said() -> None:
    key = token_key(BOB, other=ALICE.public, session=SESSION, roster=ROSTER, pair=(2, 1))
    given = token(KEY, saying="survived", sender=1, receiver=2, about=ABOUT)
    assert said(given, key=key, saying="survived", sender=1, receiver=2, about=ABOUT)


def test_a_token_is_nothing_else_and_nobody_elses() -> None:
    given = token(KEY, saying="survived", sender=1, receiver=2, about=ABOUT)
    assert not said(given, key=KEY, saying="included", sender=1, receiver=2, about=ABOUT)
    assert not said(given, key=KEY, saying="survived", sender=2, receiver=1, about=ABOUT)
    assert not said(given[:-1], key=KEY, saying="survived", sender=1, receiver=2, about=ABOUT)
    assert not said(given, key=KEY, saying="survived", sender=1, receiver=2, about=bytes(32))
    assert not said(b"", key=KEY, saying="survived", sender=1, receiver=2, about=ABOUT)


@pytest.mark.parametrize(
    "other",
    [
        {"session": reference.session(attempt="second")},
        {"roster": bytes(32)},
        {"pair": (1, 3)},
        {"other": KeyPair.fresh().public},
    ],
    ids=["session", "roster", "pair", "peer"],
)
def test_another_session_roster_pair_or_peer_has_another_key(other: dict[str, Any]) -> None:
    given: dict[str, Any] = {"other": BOB.public, "session": SESSION, "roster": ROSTER, "pair": (1, 2)}
    assert token_key(ALICE, **given) == KEY
    assert token_key(ALICE, **{**given, **other}) != KEY


def test_a_token_to_oneself_or_of_no_roster_is_refused() -> None:
    for pair, roster in (((1, 1), ROSTER), ((1, 2), b"short")):
        with pytest.raises(ProtocolError):
            token_key(ALICE, other=BOB.public, session=SESSION, roster=roster, pair=pair)
