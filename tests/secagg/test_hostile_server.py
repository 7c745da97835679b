"""What a server may claim: an honest client catches it, or it gains nothing by it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrec.errors import ProtocolError, RefusedError
from fedrec.secagg import client as client_module
from fedrec.secagg.client import SecureClient
from fedrec.secagg.client_state import ClientState
from fedrec.secagg.keys import KeyPair, advertise
from fedrec.secagg.messages import (
    AckRequest,
    AdvertAnswer,
    MaskRequest,
    RevealRequest,
    RosterRequest,
    ShareRequest,
)
from fedrec.secagg.peers import Peers
from fedrec.secagg.terms import Stage
from fedrec.secagg.tokens import Saying
from fedrec.secagg.wire import Address, M, Table, packed, unpacked
from tests.secagg import reference
from tests.secagg.cohorts import SESSION, Cohort, identity, parameters, plain_sum
from tests.secagg.hostile import HostileServer

VICTIM = 2
OTHER_SESSION = reference.session(attempt="second")


def _address(client: int = VICTIM) -> Address:
    return Address(session=SESSION.id, client=client)


def _cohort(stage: Stage) -> tuple[Cohort, bytes]:
    """A cohort before this stage, and what an honest server asks the victim then."""
    cohort = Cohort(parameters(7, threshold=5, dropouts=2), bits=24)
    cohort.run(cohort.inputs(), silent={Stage.MASK: [7]}, until=stage)
    return cohort, cohort.server.requests()[VICTIM]


def _refused(stage: Stage, kind: type[M], change: Callable[[M], M], error: type[Exception] = ProtocolError) -> None:
    """The victim refuses the changed request, reveals nothing by that, and goes on with the honest one."""
    cohort, request = _cohort(stage)
    before = cohort.clients[VICTIM].pack()
    hostile = packed(change(unpacked(kind, request, _address())), _address())
    with pytest.raises(error):
        cohort.answer(VICTIM, stage, hostile, cohort.inputs())
    assert cohort.clients[VICTIM].pack() == before
    cohort.run(cohort.inputs())
    assert cohort.server.result().words.tolist() == plain_sum(cohort.inputs(), clients=cohort.server.survivors, bits=24)


def _other(found: Any, name: str, table: Table, **more: Any) -> Any:
    return replace(found, **{name: {**getattr(found, name), **table}}, **more)


@pytest.mark.parametrize(
    "clients",
    [(1, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 8), (1, 2, 3, 4, 5, 6, 7, 8), (), (1, 2)],
    ids=["without it", "one too few", "a stranger", "one too many", "nobody", "two"],
)
def test_a_roster_of_others_than_the_terms_and_the_directory_say_is_refused(clients: tuple[int, ...]) -> None:
    _refused(Stage.ADVERTISE, RosterRequest, lambda found: replace(found, clients=clients))


def _row(client: int, *, signer: int, session: Any = SESSION) -> bytes:
    advert = advertise(session, client=client, mask=KeyPair.fresh(), cipher=KeyPair.fresh(), identity=identity(signer))
    return advert.mask_key + advert.cipher_key + advert.signature


@pytest.mark.parametrize(
    "row",
    [
        _row(4, signer=99),
        _row(4, signer=5),
        _row(5, signer=4),
        _row(4, signer=4, session=OTHER_SESSION),
        bytes(128),
    ],
    ids=["a key of the server's", "another client's", "of another client number", "of another round", "zeros"],
)
def test_a_swapped_key_is_caught(row: bytes) -> None:
    _refused(Stage.SHARE, ShareRequest, lambda found: _other(found, "adverts", {4: row}))


def test_a_key_of_which_one_byte_is_swapped_is_caught() -> None:
    def swapped(found: ShareRequest) -> ShareRequest:
        return _other(found, "adverts", {4: found.adverts[4][:40] + b"\0" + found.adverts[4][41:]})

    _refused(Stage.SHARE, ShareRequest, swapped)


def test_keys_of_a_stranger_or_of_the_client_itself_are_refused() -> None:
    for client in (VICTIM, 8):
        _refused(Stage.SHARE, ShareRequest, lambda found, c=client: _other(found, "adverts", {c: _row(c, signer=c)}))


def test_a_client_shares_its_secrets_with_no_fewer_than_the_threshold() -> None:
    def few(found: ShareRequest) -> ShareRequest:
        return ShareRequest(adverts=dict(list(found.adverts.items())[:4]))

    _refused(Stage.SHARE, ShareRequest, few, RefusedError)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda found: replace(found, present=found.present[:4]), RefusedError),
        (lambda found: replace(found, present=(*found.present, 8)), ProtocolError),
        (lambda found: replace(found, present=(*found.present, VICTIM)), ProtocolError),
        (lambda found: _other(found, "sealed", {8: bytes(98)}), ProtocolError),
        (lambda found: _other(found, "sealed", {VICTIM: bytes(98)}), ProtocolError),
        (lambda found: _other(found, "adverts", {4: _row(4, signer=4)}), ProtocolError),
    ],
    ids=["too few", "a stranger", "itself", "a stranger's shares", "its own shares", "other keys than before"],
)
def test_neighbours_that_cannot_be_are_refused(change: Callable[[Any], Any], error: type[Exception]) -> None:
    _refused(Stage.MASK, MaskRequest, change, error)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda found: replace(found, dropped=(1, *found.dropped)), ProtocolError),
        (lambda found: replace(found, survivors=found.survivors[1:]), ProtocolError),
        (lambda found: replace(found, survivors=(*found.survivors, 8)), ProtocolError),
        (lambda found: replace(found, survivors=(*found.survivors, VICTIM)), ProtocolError),
        (lambda found: replace(found, survivors=found.survivors[1:], dropped=(1, *found.dropped)), RefusedError),
        (lambda found: _other(found, "included", {7: bytes(16)}), ProtocolError),
    ],
    ids=["alive and dropped", "neither", "a stranger", "itself", "too few alive", "the inclusion of one that dropped"],
)
def test_lists_of_survivors_that_cannot_be_are_refused(change: Callable[[Any], Any], error: type[Exception]) -> None:
    _refused(Stage.ACKNOWLEDGE, AckRequest, change, error)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda _: RevealRequest(survived={}), RefusedError),
        (lambda found: RevealRequest(survived=dict(list(found.survived.items())[:4])), RefusedError),
        (lambda found: RevealRequest(survived=dict.fromkeys(found.survived, bytes(16))), RefusedError),
        (lambda found: RevealRequest(survived=dict.fromkeys(found.survived, found.survived[1])), RefusedError),
        (lambda found: _other(found, "survived", {7: bytes(16)}), ProtocolError),
    ],
    ids=["none", "too few", "forged", "one for all", "of one that dropped"],
)
def test_nothing_is_revealed_without_enough_acknowledgements(
    change: Callable[[Any], Any], error: type[Exception]
) -> None:
    _refused(Stage.REVEAL, RevealRequest, change, error)


@pytest.mark.parametrize("stage", Stage)
def test_a_replay_of_another_round_is_refused(stage: Stage) -> None:
    old = Cohort(parameters(7, threshold=5, dropouts=2), bits=24, session=OTHER_SESSION)
    old.run(old.inputs(), until=stage)
    cohort, _ = _cohort(stage)
    with pytest.raises(ProtocolError):
        cohort.answer(VICTIM, stage, old.server.requests()[VICTIM], cohort.inputs())


@pytest.mark.parametrize("stage", Stage)
def test_a_request_for_another_client_is_refused(stage: Stage) -> None:
    cohort, _ = _cohort(stage)
    with pytest.raises(ProtocolError):
        cohort.answer(VICTIM, stage, cohort.server.requests()[1], cohort.inputs())


def test_a_second_list_of_survivors_gets_no_answer_so_no_second_kind_of_share() -> None:
    cohort, request = _cohort(Stage.ACKNOWLEDGE)
    cohort.run(cohort.inputs())
    honest = unpacked(AckRequest, request, _address())
    other = replace(honest, survivors=honest.dropped + honest.survivors[1:], dropped=honest.survivors[:1])
    with pytest.raises(ProtocolError, match="another request"):
        cohort.clients[VICTIM].acknowledge(packed(other, _address()))
    with pytest.raises(ProtocolError, match="another request"):
        cohort.clients[VICTIM].reveal(packed(RevealRequest(survived={}), _address()))


def test_a_server_that_asks_everybody_for_everything_gets_one_kind_of_share_for_each_client() -> None:
    cohort = Cohort(parameters(7, threshold=5, dropouts=2), bits=24)
    cohort.run(cohort.inputs(), silent={Stage.MASK: [7]})
    reveals = cohort.server._answers.reveals.values()
    seeds = {owner for reveal in reveals for owner in reveal.seed_shares}
    masks = {owner for reveal in reveals for owner in reveal.mask_shares}
    assert (seeds, masks) == ({1, 2, 3, 4, 5, 6}, {7})


def test_a_client_that_forgot_that_it_was_asked_draws_the_same_neighbours_under_other_keys() -> None:
    cohort = Cohort(parameters(40, neighbours=20, threshold=15))
    request = cohort.server.requests()[VICTIM]
    answers = [unpacked(AdvertAnswer, cohort.client(VICTIM).advertise(request), _address()) for _ in range(5)]
    assert len({answer.drawn for answer in answers}) == 1
    assert len({answer.mask_key for answer in answers}) == 5


@pytest.mark.parametrize("stage", list(Stage)[1:])
def test_a_client_whose_directory_changes_in_the_middle_of_a_round_stays_out(stage: Stage) -> None:
    """Whoever signs directories would put keys of its own in the place of everybody else's."""
    cohort, _ = _cohort(stage)
    cohort.directory[5] = identity(99).public_key().public_bytes_raw()
    with pytest.raises(RefusedError, match="another identity key"):
        cohort.restarted(VICTIM)


def test_clients_that_know_different_keys_of_somebody_open_none_of_each_others_shares() -> None:
    cohort = Cohort(parameters(6, threshold=3, dropouts=1))
    other = {**cohort.directory, 6: identity(99).public_key().public_bytes_raw()}
    cohort.clients[1] = SecureClient(cohort.terms, client=1, identity=identity(1), directory=other)
    cohort.run(cohort.inputs(), silent={Stage.ADVERTISE: [6]}, until=Stage.ACKNOWLEDGE)
    held = [set(unpacked(ClientState, cohort.clients[each].pack(), _address(each)).held) for each in (1, 2)]
    assert held == [set(), {3, 4, 5}]


def test_a_client_that_was_given_something_else_to_train_from_is_in_no_sum_with_the_others() -> None:
    cohort = Cohort(parameters(6, threshold=3))
    inputs = cohort.inputs()
    cohort.run(inputs, until=Stage.MASK)
    for client, request in cohort.server.requests().items():
        about = b"another adapter" if client == VICTIM else b"the adapter"
        cohort.server.accept(client, cohort.clients[client].masked(request, inputs[client], about=about))
    cohort.server.close()
    cohort.run(inputs)
    with pytest.raises(ProtocolError, match=f"^0 shares of a secret of client {VICTIM} "):
        cohort.server.result()


def test_two_rosters_shown_to_two_halves_join_nobody_across() -> None:
    cohort = Cohort(parameters(7, neighbours=5, threshold=4, dropouts=2))
    cohort.directory |= {8: identity(8).public_key().public_bytes_raw()}
    cohort.clients = {client: cohort.client(client) for client in cohort.roster.clients}
    server = HostileServer(cohort, cohort.inputs())
    for client in range(2, 8):
        server.advertise(client, roster=(1, 2, 3, 4, 5, 6, 7) if client < 4 else (2, 3, 4, 5, 6, 7, 8))
    for client in server.adverts:
        server.share(client)
    for client, advert in server.adverts.items():
        drawn_by = [other for other, answer in server.shares.items() if client in answer.sealed]
        server.mask(client, present=server.shares.keys() & set(advert.drawn), drawn_by=drawn_by)
    for client, told in server.claimed.items():
        server.acknowledge(client, survivors=told)
    for client, advert in server.adverts.items():
        server.reveal(client, believed=server.shares.keys() & set(advert.drawn))
    for client in server.masked:
        assert all((other < 4) == (client < 4) for other in cohort.clients[client]._state.held)
    # Each half is too small for the threshold, and takes nobody's word of the other.
    assert len(server.acks) == 6
    assert not server.reveals


def _part(server: HostileServer, draws: np.random.Generator) -> set[int]:
    """As few clients as a server that saw all draws finds, each with enough of its neighbours among them."""
    threshold, part = server.cohort.terms.parameters.threshold, set(server.cohort.roster.clients)
    for client in draws.permutation(server.cohort.roster.clients).tolist():
        fewer = part - {client}
        if all(len(fewer.intersection(server.adverts[other].drawn)) >= threshold for other in fewer):
            part = fewer
    return part


def _split(server: HostileServer, draws: np.random.Generator, *, odd: float) -> None:
    """Tell each client of its neighbours what serves to sum a part of the cohort alone.

    odd: how often it says something else than what serves that.
    """
    server.collect_shares()
    clients, part = server.cohort.roster.clients, _part(server, draws)
    for client, advert in server.adverts.items():
        drawn_by = [other for other in clients if client in server.adverts[other].drawn]
        server.mask(
            client,
            present=[other for other in advert.drawn if other in part or draws.random() < odd],
            drawn_by=[other for other in drawn_by if other in part or draws.random() < odd],
        )
    for client, told in server.claimed.items():
        server.acknowledge(client, survivors={other for other in told if (other in part) != (draws.random() < odd)})
    for client, party in server.cohort.clients.items():
        server.reveal(client, believed=set(party._state.present) & set(party._state.survivors))


def test_whatever_is_claimed_a_sum_holds_enough_of_the_neighbours_that_each_client_drew() -> None:
    sums = set()
    for seed in range(40):
        cohort = Cohort(parameters(10, neighbours=6, threshold=4, dropouts=5), size=2)
        server = HostileServer(cohort, cohort.inputs())
        _split(server, np.random.default_rng(seed), odd=(0, 0.05, 0.3)[seed % 3])
        assert server.seeds().keys().isdisjoint(server.mask_keys())
        for clients in server.sums():
            sums.add(len(clients))
            assert server.sum_of(clients).tolist() == plain_sum(cohort.inputs(), clients=sorted(clients), bits=32)
            for client in clients:
                assert len(clients.intersection(server.adverts[client].drawn)) >= 4
    assert min(sums) < 10


_LUCKY_DRAWS = {
    1: (2, 3, 4, 5, 6),
    2: (1, 3, 4, 5, 6),
    3: (5, 6, 7, 8, 9),
    4: (5, 6, 7, 8, 9),
    **{each: tuple(other for other in range(5, 11) if other != each) for each in range(5, 11)},
}


def _single_out_two(monkeypatch: pytest.MonkeyPatch) -> HostileServer:
    """Clients 1 and 2 are told that 5 and 6 are gone; 3 and 4, that they all survive; the others, that 3 and 4 dropped.

    5 and 6 masked with 1 and 2, which did not mask with them: their inputs are lost, their shares are not.
    """
    monkeypatch.setattr(client_module, "draw_neighbours", lambda client, **_: _LUCKY_DRAWS[client])
    cohort = Cohort(parameters(10, neighbours=5, threshold=3, dropouts=5))
    server = HostileServer(cohort, cohort.inputs())
    server.collect_shares()
    for client, drawn in _LUCKY_DRAWS.items():
        drawn_by = [other for other in _LUCKY_DRAWS if client in _LUCKY_DRAWS[other]]
        near = {1: (2, 3, 4), 2: (1, 3, 4)}.get(client, drawn)
        server.mask(client, present=near, drawn_by=drawn_by)
    for client, told in server.claimed.items():
        server.acknowledge(client, survivors=told - {3, 4} if client >= 5 else told)
    for client in _LUCKY_DRAWS:
        state = cohort.clients[client]._state
        server.reveal(client, believed=set(state.present) & set(state.survivors))
    return server


def test_neighbours_that_a_client_was_told_are_gone_do_not_help_to_unmask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _single_out_two(monkeypatch)
    assert server.mask_keys().keys() == {3, 4}
    assert not {1, 2} & server.seeds().keys()
    assert all(len(clients) > 3 for clients in server.sums())


def test_without_inclusions_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Peers.heard

    def credulous(peers: Peers, tokens: Table, saying: Saying) -> list[int]:
        return list(tokens) if saying == "included" else heard(peers, tokens, saying)

    monkeypatch.setattr(Peers, "heard", credulous)
    server = _single_out_two(monkeypatch)
    assert {1, 2} in server.sums()
    assert server.sum_of({1, 2}).tolist() == plain_sum(server.inputs, clients=[1, 2], bits=32)
