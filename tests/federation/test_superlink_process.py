"""What a service's SuperLink writes down and takes, beside Flower's own."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore import log, sql_mixin
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.error import FlowerError
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.logger import LOGGER_NAME
from flwr.superlink.servicer.fleet import fleet_handlers

from fedrec.federation.messages import pack_instruction, pack_reply
from fedrec.federation.superlink_process import (
    NothingOfDevices,
    empty_journal,
    overwrite_what_is_deleted,
    own_answers_only,
    said_of_nobody,
)
from fedrec.model.layout import FlatAdapter
from fedrec.training.client import Reply
from tests.federation.in_process_superlink import InProcessSuperLink
from tests.federation.test_grid_engine import an_instruction

KEY = "-----BEGIN PUBLIC KEY-----\\nMHYwEAYHKoZIzj0CAQ\\n-----END PUBLIC KEY-----\\n"
Spoil = Callable[[PushMessagesRequest], None]


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> InProcessSuperLink:
    """A SuperLink with the handler that the process has, and two nodes."""
    monkeypatch.setattr(fleet_handlers, "push_messages", own_answers_only(fleet_handlers.push_messages))
    return InProcessSuperLink(FLWR_IN_MEMORY_DB_NAME, nodes=2)


@pytest.fixture
def flowers_log() -> Iterator[list[str]]:
    """The lines of Flower's log, as a handler of it writes them."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(NothingOfDevices())
    logging.getLogger(LOGGER_NAME).addHandler(handler)
    yield lines
    logging.getLogger(LOGGER_NAME).removeHandler(handler)


def asked(link: InProcessSuperLink, node: int) -> Message:
    """The answer that a node has to a question of the server."""
    link.grid.push_messages([Message(pack_instruction(an_instruction(plan=None)), node, "train")])
    update = np.ones(3, np.float32)
    return Message(pack_reply(Reply(client=-1, update=update, attempts=1)), reply_to=link.question(node))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            f"[/v1/fleet/activate-node][ApiError:2004] Attempted to register SuperNode with public key: b'{KEY}'",
            "[/v1/fleet/activate-node][ApiError:2004]",
        ),
        ("[/v1/fleet/get-fab][ApiError:2009] SuperNode 1, fab_hash=a\nb\r\nc", "[/v1/fleet/get-fab][ApiError:2009]"),
        (f"Message {'ab' * 32} of 15539122279075508719 is late", "Message ... of ... is late"),
        ("Starting Flower SuperLink on 127.0.0.1:39093", "Starting Flower SuperLink on 127.0.0.1:39093"),
    ],
)
def test_a_line_keeps_where_and_what_and_not_who(line: str, kept: str) -> None:
    assert said_of_nobody(line) == kept


def test_what_flower_logs_goes_through_it(flowers_log: list[str]) -> None:
    log(logging.ERROR, "Invalid source node ID for Message: %s", 15539122279075508719)
    assert flowers_log == ["Invalid source node ID for Message: ..."]


def test_an_answer_of_a_node_to_its_question_is_taken(link: InProcessSuperLink) -> None:
    node = link.nodes[0]
    answer = asked(link, node)
    link.upload(node, answer)
    assert link.state.num_message_res() == 1


def test_what_another_node_sends_in_its_name_is_not_taken(link: InProcessSuperLink) -> None:
    """Also from one who has learnt the node's id and what it was asked."""
    answer = asked(link, link.nodes[0])
    with pytest.raises(FlowerError):
        link.upload(link.nodes[1], answer)
    assert link.state.num_message_res() == 0


def test_what_nobody_asked_for_is_not_taken(link: InProcessSuperLink) -> None:
    with pytest.raises(FlowerError):
        link.take_name(link.nodes[0], "ab" * 32)
    assert link.state.num_message_ins() == 0


def twice(request: PushMessagesRequest) -> None:
    request.messages_list.append(request.messages_list[0])


def nothing(request: PushMessagesRequest) -> None:
    del request.messages_list[:]


def no_tree(request: PushMessagesRequest) -> None:
    del request.message_object_trees[:]


def another_tree(request: PushMessagesRequest) -> None:
    request.message_object_trees[0].object_id = "ab" * 32


def a_forest(request: PushMessagesRequest) -> None:
    request.message_object_trees[0].children.extend(ObjectTree(object_id=f"{each:064x}") for each in range(100))


@pytest.mark.parametrize("spoil", [twice, nothing, no_tree, another_tree, a_forest])
def test_what_is_no_single_answer_is_not_taken(
    link: InProcessSuperLink, monkeypatch: pytest.MonkeyPatch, spoil: Spoil
) -> None:
    push = fleet_handlers.push_messages

    def spoilt(request: PushMessagesRequest, state: object) -> object:
        spoil(request)
        return push(request, state)  # type: ignore[arg-type]

    answer = asked(link, link.nodes[0])
    monkeypatch.setattr(fleet_handlers, "push_messages", spoilt)
    with pytest.raises(FlowerError):
        link.upload(link.nodes[0], answer)
    assert link.state.num_message_res() == 0


def test_how_long_its_app_took_is_not_believed(link: InProcessSuperLink) -> None:
    """A figure that is no number would be in the record of the run for ever."""
    answer = asked(link, link.nodes[0])
    link.upload(link.nodes[0], answer, took=float("inf"))
    (run,) = link.state.get_run_info(run_ids=[link.run])
    assert run.clientapp_runtime == 0


@pytest.mark.slow
def test_an_update_that_was_taken_and_deleted_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", sql_mixin.SQLITE_PRAGMAS)
    overwrite_what_is_deleted()
    database = tmp_path / "superlink.db"
    superlink = InProcessSuperLink(str(database), nodes=1)
    store = superlink.state.object_store
    update = np.random.default_rng(1).normal(size=26_000).astype(np.float32)
    reply = pack_reply(Reply(client=0, update=update))
    store.preregister(superlink.run, get_object_tree(reply))
    for name, each in get_all_nested_objects(reply).items():
        store.put(name, each.deflate())
    assert pieces_of(update, tmp_path) > 0
    store.delete(reply.object_id)
    empty_journal(database)
    assert pieces_of(update, tmp_path) == 0
    assert len(store) == 0


def test_a_database_that_is_not_there_or_none_stops_nobody(tmp_path: Path) -> None:
    empty_journal(tmp_path / "nothing.db")
    assert not list(tmp_path.iterdir())
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    empty_journal(tmp_path / "other.db")


def pieces_of(update: FlatAdapter, folder: Path) -> int:
    """How many pieces of an update stand in the files of a folder."""
    content, wanted = b"".join(path.read_bytes() for path in folder.iterdir()), update.tobytes()
    return sum(wanted[start : start + 64] in content for start in range(0, len(wanted) - 64, 1024))
