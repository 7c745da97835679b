import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg import recovery as recovery_module
from fedrec.secagg.recovery import Recovery
from fedrec.secagg.roster import Roster
from fedrec.secagg.shares import SHARE_BYTES, split

SECRET = bytes(range(32))


def _shares(clients: list[int], roster: Roster, *, threshold: int, secret: bytes = SECRET) -> dict[int, bytes]:
    by_point = split(secret, threshold=threshold, points=[roster.point(client) for client in clients])
    return {client: by_point[roster.point(client)] for client in clients}


def _wrong() -> bytes:
    return secrets.randbelow(2**255).to_bytes(SHARE_BYTES)


@settings(max_examples=40)
@given(st.integers(2, 12), st.integers(0, 4), st.data())
def test_a_secret_is_found_if_enough_shares_are_right_and_who_sent_wrong_ones_too(
    threshold: int, surplus: int, data: st.DataObject
) -> None:
    roster = Roster(tuple(range(10, 40)))
    holders = data.draw(st.permutations(roster.clients))[: threshold + surplus]
    shares = _shares(holders, roster, threshold=threshold)
    liars = set(holders[:1] if surplus else [])
    shares |= {liar: _wrong() for liar in liars}
    found = Recovery(roster=roster, threshold=threshold)
    assert found.secret(shares, owner=1, fits=SECRET.__eq__) == SECRET
    assert found.liars <= liars
    # Had one more lied than there is surplus, no secret would be given out.
    for liar in holders[: surplus + 1]:
        shares[liar] = _wrong()
    with pytest.raises(ProtocolError, match="client 1 came"):
        Recovery(roster=roster, threshold=threshold).secret(shares, owner=1, fits=SECRET.__eq__)


def test_a_liar_among_the_first_is_known_and_trusted_last_from_then_on() -> None:
    roster = Roster(tuple(range(1, 9)))
    found = Recovery(roster=roster, threshold=5)
    shares = _shares(list(roster.clients), roster, threshold=5) | {2: _wrong()}
    assert found.secret(shares, owner=1, fits=SECRET.__eq__) == SECRET
    assert found.liars == {2}
    asked = []

    def fits(secret: bytes) -> bool:
        asked.append(secret)
        return secret == SECRET

    assert found.secret(shares, owner=3, fits=fits) == SECRET
    assert len(asked) == 1


def test_many_holders_are_tried_at_random_and_a_few_liars_found() -> None:
    roster = Roster(tuple(range(1, 52)))
    found = Recovery(roster=roster, threshold=36)
    shares = _shares(list(roster.clients), roster, threshold=36) | {2: _wrong(), 30: _wrong()}
    assert found.secret(shares, owner=1, fits=SECRET.__eq__) == SECRET
    assert found.liars == {2, 30}


def test_the_work_for_a_round_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "_ALL_TRIES", 30)
    roster = Roster(tuple(range(1, 9)))
    found = Recovery(roster=roster, threshold=5)
    tried = []

    def never(secret: bytes) -> bool:
        tried.append(secret)
        return False

    for owner in range(5):
        shares = _shares(list(roster.clients), roster, threshold=5)
        with pytest.raises(ProtocolError):
            found.secret(shares, owner=owner, fits=never)
    assert len(tried) == 30 + 5


def test_too_few_shares_give_nothing() -> None:
    roster = Roster((1, 2, 3, 4))
    shares = _shares([1, 2, 3, 4], roster, threshold=3)
    for few in ({}, {1: shares[1], 4: shares[4]}):
        with pytest.raises(ProtocolError, match=f"^{len(few)} shares"):
            Recovery(roster=roster, threshold=3).secret(few, owner=9, fits=SECRET.__eq__)
