import hashlib
import secrets
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg.roster import LARGEST_ROSTER, Roster, draw_neighbours, draw_secret, require_roster_for
from tests.secagg import reference
from tests.secagg.cohorts import SESSION, identity, parameters

ROSTER = Roster((3, 5, 8, 13))


def test_its_hash_is_that_of_the_numbers_in_this_session() -> None:
    numbers = b"".join(map(reference.number, ROSTER.clients))
    session = reference.session_id(b"study", 3, b"first")
    assert ROSTER.hash(SESSION) == hashlib.sha256(reference.frame(b"roster", session, numbers, b"")).digest()


def test_another_set_or_session_has_another_hash() -> None:
    others = [Roster((3, 5, 8)), Roster((3, 5, 8, 14)), Roster(())]
    hashes = {roster.hash(SESSION) for roster in (ROSTER, *others)} | {ROSTER.hash(reference.session(attempt="second"))}
    assert len(hashes) == 5


@pytest.mark.parametrize("clients", [(5, 3), (3, 3), (-1, 3), (3, 2**63), (True, 3), tuple(range(LARGEST_ROSTER + 1))])
def test_numbers_out_of_order_twice_or_too_many_are_no_roster(clients: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError):
        Roster(clients)


def test_a_client_is_in_it_at_its_place_from_one() -> None:
    assert [ROSTER.point(client) for client in ROSTER.clients] == [1, 2, 3, 4]
    assert [client in ROSTER for client in (3, 4, 13, 14, 0)] == [True, False, True, False, False]


@given(st.integers(2, 30), st.data())
def test_neighbours_are_so_many_others_of_the_roster(clients: int, data: st.DataObject) -> None:
    neighbours = data.draw(st.integers(1, clients - 1))
    given_parameters = parameters(clients, neighbours=neighbours, threshold=neighbours)
    roster = Roster(tuple(range(clients)))
    drawn = draw_neighbours(2, roster=roster, parameters=given_parameters, secret=bytes(32))
    assert len(drawn) == neighbours
    assert sorted(set(drawn) - {2}) == list(drawn)
    assert set(drawn) < set(range(clients)) or clients == 2


def test_every_other_client_is_drawn_as_often() -> None:
    given_parameters = parameters(5, neighbours=2, threshold=2)
    roster = Roster((1, 2, 3, 4, 5))
    pairs = Counter(
        draw_neighbours(3, roster=roster, parameters=given_parameters, secret=secrets.token_bytes(32))
        for _ in range(6000)
    )
    assert len(pairs) == 6
    # Seven standard deviations of a thousand draws.
    assert all(abs(count - 1000) < 7 * 29 for count in pairs.values())


def test_a_draw_is_of_one_identity_session_and_roster() -> None:
    drawn = {
        draw_secret(identity(client), session=session, roster=roster)
        for client in (3, 5)
        for session in (SESSION, reference.session(attempt="second"))
        for roster in (ROSTER, Roster((3, 5, 8, 14)))
    }
    assert len(drawn) == 8
    assert draw_secret(identity(3), session=SESSION, roster=ROSTER) in drawn


def test_a_client_draws_from_a_roster_of_enrolled_clients_that_it_is_in_and_of_the_size_agreed() -> None:
    enrolled = {3: b"", 5: b"", 8: b"", 13: b"", 21: b""}
    require_roster_for(5, roster=ROSTER, parameters=parameters(4, threshold=3), enrolled=enrolled)
    for client, size, known in ((4, 4, enrolled), (5, 5, enrolled), (5, 4, {3: b"", 5: b"", 8: b""})):
        with pytest.raises(ProtocolError):
            require_roster_for(client, roster=ROSTER, parameters=parameters(size, threshold=size - 1), enrolled=known)


def test_its_hash_binds_the_identity_key_of_everybody_in_it() -> None:
    keys = {3: b"a", 5: b"b", 8: b"c", 13: b"d", 21: b"e"}
    bound = ROSTER.under(keys)
    others = [ROSTER.under({**keys, client: b"z"}) for client in ROSTER.clients]
    assert len({roster.hash(SESSION) for roster in (ROSTER, bound, *others)}) == 6
    assert bound == ROSTER.under({**keys, 21: b"z"})


def test_another_key_of_somebody_is_no_other_draw() -> None:
    bound = ROSTER.under({5: b"b"})
    assert draw_secret(identity(3), session=SESSION, roster=bound) == draw_secret(
        identity(3), session=SESSION, roster=ROSTER
    )
