"""Bytes that are no message of this sum are refused, whatever they are."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import ProtocolError, RefusedError
from fedrec.secagg import messages
from fedrec.secagg.client import SecureClient
from fedrec.secagg.client_state import ClientState
from fedrec.secagg.terms import Stage
from fedrec.secagg.wire import Address, packed, unpacked
from tests.secagg.cohorts import SESSION, Cohort, identity, parameters

KINDS = [
    messages.RosterRequest,
    messages.AdvertAnswer,
    messages.ShareRequest,
    messages.ShareAnswer,
    messages.MaskRequest,
    messages.MaskAnswer,
    messages.AckRequest,
    messages.AckAnswer,
    messages.RevealRequest,
    messages.RevealAnswer,
]
ADDRESS = Address(session=SESSION.id, client=1)


def _conversation() -> tuple[Cohort, list[bytes], list[bytes]]:
    """A whole sum, all that client 1 was sent and answered, and what it kept between."""
    cohort = Cohort(parameters(5, threshold=3, dropouts=1), bits=20)
    said, kept = [], [cohort.clients[1].pack()]
    while (stage := cohort.server.stage) is not None:
        requests = cohort.server.requests()
        for client, request in requests.items():
            if (client, stage) == (5, Stage.MASK):
                continue
            answer = cohort.answer(client, stage, request, cohort.inputs())
            cohort.server.accept(client, answer)
            if client == 1:
                said += [request, answer]
        kept.append(cohort.clients[1].pack())
        cohort.server.close()
    return cohort, said, kept


COHORT, SAID, KEPT = _conversation()


@st.composite
def _damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """Something that is nearly a message."""
    raw = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 3))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    cut = slice(None, draw(st.sampled_from([None, None, None, -1, -7, 66, 70])))
    return bytes(raw[cut]) + draw(st.sampled_from([b"", b"", b"", b"\0", b"more"]))


_bytes = st.one_of(st.binary(max_size=300), _damaged(SAID + KEPT))


def _check_one_way(kind: type[Any], raw: bytes) -> None:
    try:
        found = unpacked(kind, raw, ADDRESS)
    except ProtocolError:
        return
    assert packed(found, ADDRESS) == raw


@settings(max_examples=300)
@given(st.sampled_from([*KINDS, ClientState]), _bytes)
def test_any_bytes_are_a_message_written_in_its_one_way_or_refused(kind: type[Any], raw: bytes) -> None:
    _check_one_way(kind, raw)


@given(st.sampled_from([*KINDS, ClientState]), st.binary(max_size=300))
def test_so_are_any_bytes_after_a_sound_head(kind: type[Any], body: bytes) -> None:
    _check_one_way(kind, packed(_example(kind), ADDRESS)[:66] + body)


def _example(kind: type[Any]) -> Any:
    return next(unpacked(each, raw, ADDRESS) for raw in SAID + KEPT for each in [kind] if _is(each, raw))


def _is(kind: type[Any], raw: bytes) -> bool:
    try:
        unpacked(kind, raw, ADDRESS)
    except ProtocolError:
        return False
    return True


def test_every_message_is_read_as_its_own_kind_alone() -> None:
    found = [[kind for kind in KINDS if _is(kind, raw)] for raw in SAID]
    assert found == [[kind] for kind in KINDS]


@pytest.mark.parametrize("address", [Address(session=bytes(32), client=1), Address(session=SESSION.id, client=2)])
def test_a_message_of_another_session_or_client_is_refused(address: Address) -> None:
    for kind, raw in zip(KINDS, SAID, strict=True):
        with pytest.raises(ProtocolError, match="another round or client"):
            unpacked(kind, raw, address)


@pytest.mark.parametrize("given_value", [None, 1, "text", [], bytearray(SAID[0]), memoryview(SAID[0])])
def test_what_is_not_bytes_is_no_message(given_value: Any) -> None:
    with pytest.raises(ProtocolError):
        unpacked(messages.RosterRequest, given_value, ADDRESS)


@pytest.mark.parametrize(
    ("clients", "written"),
    [
        ((), "00000000"),
        ((0,), "0000000100"),
        ((3, 4, 200, 40_000), "000000040300c301f7b602"),
        ((2**63 - 1,), "00000001" + "ff" * 8 + "7f"),
    ],
)
def test_clients_are_written_as_the_gaps_between_them(clients: tuple[int, ...], written: str) -> None:
    raw = packed(messages.RosterRequest(clients=clients), ADDRESS)
    assert raw[66:].hex() == written
    assert unpacked(messages.RosterRequest, raw, ADDRESS).clients == clients


@pytest.mark.parametrize(
    "written",
    ["00000001", "000000018000", "0000000180", "00000001" + "80" * 8 + "8001", "00000001" + "ff" * 10, "0000000100ff"],
    ids=["too few", "a gap with a zero at its end", "cut off", "too large", "endless", "too many"],
)
def test_clients_that_are_written_otherwise_are_refused(written: str) -> None:
    head = packed(messages.RosterRequest(clients=()), ADDRESS)[:66]
    with pytest.raises(ProtocolError):
        unpacked(messages.RosterRequest, head + bytes.fromhex(written), ADDRESS)


@given(st.sets(st.integers(0, 2**63 - 1)))
def test_clients_are_read_as_they_were_written(clients: set[int]) -> None:
    message = messages.RosterRequest(clients=tuple(sorted(clients)))
    assert unpacked(messages.RosterRequest, packed(message, ADDRESS), ADDRESS) == message


@pytest.mark.parametrize("clients", [(1, 1), (-1,)])
def test_clients_twice_or_without_a_number_are_not_written(clients: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Client"):
        packed(messages.RosterRequest(clients=clients), ADDRESS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_message_that_claims_to_be_long_takes_no_memory(kind: type[Any]) -> None:
    whole = packed(_example(kind), ADDRESS)
    tracemalloc.start()
    for at in range(66, len(whole)):
        raw = whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
        if not _is(kind, raw):
            continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@settings(max_examples=200)
@given(st.sampled_from(Stage), _bytes)
def test_a_client_answers_its_kept_requests_or_refuses_any_bytes(stage: Stage, raw: bytes) -> None:
    before = COHORT.clients[1].pack()
    try:
        COHORT.answer(1, stage, raw, COHORT.inputs())
    except ProtocolError:
        pass
    except RefusedError:
        # Its round is over: what it masked with is forgotten.
        assert stage is Stage.MASK
        assert raw in SAID
    else:
        assert raw in SAID
    assert COHORT.clients[1].pack() == before


@settings(max_examples=150)
@given(st.integers(0, 5), st.sampled_from(Stage), _bytes)
def test_a_client_at_any_stage_raises_nothing_but_refusals(answered: int, stage: Stage, raw: bytes) -> None:
    client = _read(KEPT[answered])
    ask = [client.advertise, client.share, _masking(client), client.acknowledge, client.reveal]
    try:
        ask[stage](raw)
    except RefusedError:
        assert client.pack() == KEPT[answered]


def _masking(client: SecureClient) -> Any:
    return lambda raw: client.masked(raw, COHORT.inputs()[1])


def _read(raw: bytes) -> SecureClient:
    return SecureClient.unpack(raw, terms=COHORT.terms, client=1, identity=identity(1), directory=COHORT.directory)


@settings(max_examples=300)
@given(_damaged(KEPT), st.sampled_from(Stage), st.sampled_from(SAID))
def test_a_damaged_state_is_refused_or_raises_nothing_but_refusals(raw: bytes, stage: Stage, request: bytes) -> None:
    try:
        client = _read(raw)
        ask = [client.advertise, client.share, _masking(client), client.acknowledge, client.reveal]
        ask[stage](request)
    except RefusedError:
        pass


@settings(max_examples=150)
@given(st.data())
def test_a_server_takes_any_bytes_or_counts_them_as_refused(data: st.DataObject) -> None:
    cohort = Cohort(parameters(5, threshold=3, dropouts=1), bits=20)
    cohort.run(cohort.inputs(), until=data.draw(st.sampled_from(Stage)))
    try:
        cohort.server.accept(1, data.draw(_bytes))
    except ProtocolError:
        assert cohort.server.refused == {1: 1}
    else:
        # Another run's keys, shares and words are sound bytes, too.
        assert not cohort.server.refused


@pytest.mark.parametrize("kind", [messages.RosterRequest, messages.MaskAnswer])
def test_a_long_message_of_more_parts_than_a_roster_has_clients_is_refused_unread(kind: type[Any]) -> None:
    empty = {messages.RosterRequest: {"clients": ()}, messages.MaskAnswer: {"included": {}, "words": ()}}[kind]
    parts = 100_000
    raw = packed(kind(**empty), ADDRESS)[:-4] + parts.to_bytes(4) + bytes(parts * (1 if "clients" in empty else 4))
    with pytest.raises(ProtocolError):
        unpacked(kind, raw, ADDRESS)
