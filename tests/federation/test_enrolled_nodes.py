"""A deployed node is the client that its key was enrolled as, whatever it claims; strangers do not exist."""

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given
from hypothesis import strategies as st

from fedrec.federation.enrolled_nodes import EnrolledNodes
from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.messages import pack_reply, unpack_instruction
from fedrec.training.client import Reply
from tests.federation.enrolled_grid import EnrolledGrid, enrolment
from tests.federation.test_grid_engine import an_instruction


def an_app(asked: list[int] | None = None) -> ClientApp:
    """Each node replies with its own number, and claims to be client 0 wherever it can."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        (asked if asked is not None else []).append(number)
        size = len(unpack_instruction(message.content).adapter)
        reply = Reply(client=0, update=np.full(size, number, np.float32), attempts=1)
        return Message(pack_reply(reply), reply_to=message)

    @app.query("identify")
    def identify(message: Message, _: Context) -> Message:
        return Message(RecordDict({"identity": ConfigRecord({"client": 0})}), reply_to=message)

    return app


@given(st.dictionaries(st.integers(0, 7), st.integers(0, 500), max_size=8), st.sets(st.integers(0, 7)))
def test_the_clients_are_the_enrolled_keys_that_are_connected(enrolled: dict[int, int], connected: set[int]) -> None:
    clients = {node: 10 * client + node for node, client in enrolled.items()}
    grid = EnrolledGrid(ClientApp(), nodes=8)
    grid.connected = connected
    found = EnrolledNodes(grid, lambda: enrolment(clients))()
    assert found == {client: node + 2 for node, client in clients.items() if node in connected}


def test_a_reply_is_the_clients_whose_node_was_asked_and_not_who_it_claims_to_be() -> None:
    engine = GridEngine(grid := EnrolledGrid(an_app(), nodes=3), EnrolledNodes(grid, lambda: enrolment({1: 40, 2: 7})))
    assert list(engine.clients(1)) == [7, 40]
    replies = list(engine.collect(an_instruction(), [40, 7], timeout=5))
    assert [(reply.client, reply.update[0]) for reply in replies if reply.update is not None] == [(40, 1.0), (7, 2.0)]


def test_a_node_that_was_revoked_between_two_rounds_is_asked_no_more() -> None:
    asked: list[int] = []
    clients = {0: 0, 1: 1}
    engine = GridEngine(grid := EnrolledGrid(an_app(asked), nodes=2), EnrolledNodes(grid, lambda: enrolment(clients)))
    list(engine.collect(an_instruction(), [0, 1], timeout=5))
    del clients[1]
    replies = list(engine.collect(an_instruction(round=4), [0, 1], timeout=5))
    assert {reply.client: reply.code for reply in replies} == {0: "", 1: "unreachable"}
    assert asked == [0, 1, 0]


def test_a_node_that_connects_later_takes_part_from_then_on() -> None:
    grid = EnrolledGrid(an_app(), nodes=2)
    grid.connected = {0}
    engine = GridEngine(grid, EnrolledNodes(grid, lambda: enrolment({0: 0, 1: 1})))
    assert list(engine.clients(1)) == [0]
    grid.connected.add(1)
    assert list(engine.clients(1)) == [0, 1]


def test_nobody_connected_is_no_fault() -> None:
    grid = EnrolledGrid(an_app(), nodes=0)
    assert list(GridEngine(grid, EnrolledNodes(grid, lambda: enrolment({0: 0}))).clients(1)) == []


def test_a_reply_from_another_node_than_the_one_that_was_asked_does_not_count() -> None:
    class Mixed(EnrolledGrid):
        def _handle(self, message: Message) -> Message:
            reply = super()._handle(message)
            reply.metadata.__dict__["_src_node_id"] = 2
            return reply

    grid = Mixed(an_app(), nodes=2)
    engine = GridEngine(grid, EnrolledNodes(grid, lambda: enrolment({0: 0, 1: 1})))
    replies: list[Any] = list(engine.collect(an_instruction(), [0, 1], timeout=5))
    assert [reply.code for reply in replies] == ["", "malformed"]
