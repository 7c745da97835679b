"""Which device is which client: a number is given once, a key is taken once, whatever happens."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from fedrec.enrolment import EnrolmentRequest, flower_key, ssh_line
from fedrec.errors import RefusedError
from fedrec.registry.database import Database
from fedrec.registry.nodes import (
    Node,
    Places,
    StoredNode,
    ask,
    confirm,
    enrolled_nodes,
    identities,
    nodes,
    revoke,
)

PLENTY = Places(most=1000, per_day=1000)
DAY = 86_400


@pytest.fixture
def database(tmp_path: Path):
    opened = Database.open(f"sqlite:///{tmp_path / 'registry.db'}")
    yield opened
    opened.close()


def a_request(number: int, *, replaces: int | None = None) -> EnrolmentRequest:
    """Whose signatures were checked already: here keys are texts."""
    return EnrolmentRequest(
        node_key=f"node {number}",
        identity_key=f"{number:064x}",
        nonce="00" * 16,
        made_at=0,
        replaces=None if replaces is None else f"{replaces:064x}",
    )


def asked(database: Database, number: int, *, now: int = 0, places: Places = PLENTY, catalogue: str = "films") -> Node:
    return ask(database, a_request(number), catalogue=catalogue, places=places, now=now)


def enrolled(database: Database, number: int, **more) -> Node:
    return confirm(database, asked(database, number, **more).node_key, now=1)


def test_clients_of_a_catalogue_are_numbered_from_zero(database) -> None:
    assert [enrolled(database, number).client for number in range(3)] == [0, 1, 2]
    assert enrolled(database, 3, catalogue="books").client == 0


def test_a_request_that_is_given_twice_is_the_same_client(database) -> None:
    first = asked(database, 0)
    assert asked(database, 0) == first
    again = enrolled(database, 0)
    assert (again.client, again.state) == (0, "enrolled")
    assert asked(database, 0) == again
    assert len(nodes(database)) == 1


@pytest.mark.parametrize(
    "change",
    [{"node_key": "node 9"}, {"identity_key": "9" * 64}, {"node_key": "node 1"}, {"identity_key": f"{1:064x}"}],
)
def test_a_key_that_was_here_is_not_taken_with_another(database, change) -> None:
    asked(database, 0)
    asked(database, 1)
    with pytest.raises(RefusedError, match="here before"):
        ask(database, replace(a_request(0), **change), catalogue="films", places=PLENTY, now=0)


def test_a_device_is_enrolled_for_one_catalogue(database) -> None:
    asked(database, 0)
    with pytest.raises(RefusedError, match="here before"):
        asked(database, 0, catalogue="books")


def test_new_keys_take_the_place_of_the_old_and_the_client_stays(database) -> None:
    enrolled(database, 0)
    enrolled(database, 1)
    change = ask(database, a_request(2, replaces=1), catalogue="films", places=PLENTY, now=5)
    assert (change.client, change.state) == (1, "asked")
    assert identities(database, "films") == {0: f"{0:064x}", 1: f"{1:064x}"}
    confirm(database, change.node_key, now=6)
    assert identities(database, "films") == {0: f"{0:064x}", 1: f"{2:064x}"}
    assert [(node.client, node.state, node.ended_at) for node in nodes(database)] == [
        (0, "enrolled", None),
        (1, "replaced", 6),
        (1, "enrolled", None),
    ]


def test_a_change_of_keys_takes_no_new_place(database) -> None:
    only = Places(most=1, per_day=1)
    enrolled(database, 0, places=only)
    assert ask(database, a_request(1, replaces=0), catalogue="films", places=only, now=0).client == 0


@pytest.mark.parametrize("what", ["unknown", "asked", "revoked", "replaced", "of another catalogue"])
def test_only_an_enrolled_devices_keys_can_be_replaced(database, what) -> None:
    if what == "asked":
        asked(database, 0)
    elif what != "unknown":
        enrolled(database, 0, catalogue="books" if what == "of another catalogue" else "films")
    if what == "revoked":
        revoke(database, "films", 0, now=1)
    if what == "replaced":
        change = ask(database, a_request(5, replaces=0), catalogue="films", places=PLENTY, now=0)
        confirm(database, change.node_key, now=0)
    with pytest.raises(RefusedError, match="no enrolled device"):
        ask(database, a_request(1, replaces=0), catalogue="films", places=PLENTY, now=0)


def test_a_revoked_client_is_nobody_its_keys_never_come_back_and_its_number_is_not_given_again(database) -> None:
    enrolled(database, 0)
    change = ask(database, a_request(1, replaces=0), catalogue="films", places=PLENTY, now=0)
    assert {node.state for node in revoke(database, "films", 0, now=9)} == {"revoked"}
    assert identities(database, "films") == {}
    for number in (0, 1):
        with pytest.raises(RefusedError, match="revoked"):
            asked(database, number)
    with pytest.raises(RefusedError, match="revoked"):
        confirm(database, change.node_key, now=0)
    assert asked(database, 2).client == 1


def test_nobody_is_revoked_who_is_not_there(database) -> None:
    with pytest.raises(RefusedError, match="no client 4"):
        revoke(database, "films", 4, now=0)


def test_there_are_so_many_places_and_a_revoked_one_is_free_again(database) -> None:
    two = Places(most=2, per_day=100)
    for number in range(2):
        enrolled(database, number, places=two)
    with pytest.raises(RefusedError, match=r"enrolment\.most"):
        asked(database, 2, places=two, catalogue="books")
    revoke(database, "films", 0, now=1)
    assert asked(database, 2, places=two).client == 2


def test_there_are_so_many_new_devices_a_day_even_where_they_are_revoked_again(database) -> None:
    few = Places(most=100, per_day=2)
    for number in range(2):
        enrolled(database, number, places=few, now=number)
    revoke(database, "films", 0, now=2)
    with pytest.raises(RefusedError, match="24 hours"):
        asked(database, 2, places=few, now=DAY - 1)
    assert asked(database, 2, places=few, now=DAY).client == 2


def test_a_client_has_one_node_whatever_goes_wrong_above(database) -> None:
    enrolled(database, 0)
    row = {"catalogue": "films", "client": 0, "state": "enrolled", "asked_at": 0, "ended_at": None}
    with pytest.raises(IntegrityError):
        database.write(lambda session: session.add(StoredNode(node_key="x", identity_key="y", **row)))


def test_rounds_find_a_client_by_its_key_in_flowers_list(database) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    request = replace(a_request(0), node_key=ssh_line(key))
    node = ask(database, request, catalogue="films", places=PLENTY, now=0)
    assert enrolled_nodes(database, "films") == {}
    confirm(database, node.node_key, now=0)
    assert enrolled_nodes(database, "films") == {flower_key(node.node_key): 0}
    assert enrolled_nodes(database, "books") == {}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["ask", "enrol", "change", "revoke"]), st.integers(0, 7)), max_size=30))
def test_whatever_is_done_in_whatever_order_a_number_is_one_devices_for_ever(tmp_path_factory, steps) -> None:
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('nodes') / 'registry.db'}")
    first_of: dict[int, str] = {}
    for place, (step, number) in enumerate(steps):
        try:
            if step == "ask":
                asked(database, number)
            elif step == "enrol":
                enrolled(database, number)
            elif step == "change":
                request = a_request(100 + place, replaces=number)
                node = ask(database, request, catalogue="films", places=PLENTY, now=0)
                confirm(database, node.node_key, now=0)
            else:
                revoke(database, "films", number, now=0)
        except RefusedError:
            pass
        kept = nodes(database)
        now_enrolled = [node.client for node in kept if node.state == "enrolled"]
        assert len(now_enrolled) == len(set(now_enrolled))
        for node in kept:
            if int(node.identity_key, 16) < 100:  # a change of keys is no new device
                assert first_of.setdefault(node.client, node.identity_key) == node.identity_key
    database.close()
