"""Replies as a SuperLink hands them out, put there by nodes that upload whatever they like."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, get_object_tree
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.federation.inbox import Inbox
from fedrec.federation.messages import TRAIN, pack_reply, unpack_reply
from fedrec.training.client import Reply

VECTOR = np.arange(5, dtype=np.float32)
QUESTION, NODE = "question", 77


@dataclass
class Uploaded:
    """A reply as a node put it there: what it says to the SuperLink, and the objects that it uploaded."""

    proto: MessageProto
    tree: ObjectTree
    objects: dict[str, bytes]


@dataclass
class Shelf:
    """Stands where a SuperLink's runtime interface does."""

    replies: dict[str, Uploaded]
    unasked: list[Uploaded] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def PullMessages(self, request: PullAppMessagesRequest) -> PullAppMessagesResponse:  # noqa: N802
        assert not set(request.message_ids) & set(self.told), "asked again for what was told"
        given = [self.replies[each] for each in request.message_ids if each in self.replies] + self.unasked
        self.told += [each for each in request.message_ids if each in self.replies]
        return PullAppMessagesResponse(
            messages_list=[each.proto for each in given], message_object_trees=[each.tree for each in given]
        )

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:  # noqa: N802
        for reply in self.replies.values():
            if request.object_id in reply.objects:
                content = reply.objects[request.object_id]
                return PullObjectResponse(object_found=True, object_available=content != b"", object_content=content)
        return PullObjectResponse(object_found=False)

    def ConfirmMessageReceived(  # noqa: N802
        self, request: ConfirmMessageReceivedRequest
    ) -> ConfirmMessageReceivedResponse:
        self.confirmed.append(request.message_object_id)
        return ConfirmMessageReceivedResponse()


@pytest.fixture(autouse=True, scope="module")
def _inside_a_task() -> None:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def a_message(content: RecordDict | Error, *, question: str = QUESTION, node: int = NODE) -> Message:
    """A node's answer to a question."""
    asked = Message(RecordDict(), node, TRAIN, ttl=100.0)
    asked.metadata.__dict__["_message_id"] = question
    return Message(content, reply_to=asked)


def uploaded(message: Message) -> Uploaded:
    """As an honest node uploads it."""
    objects = get_all_nested_objects(message)
    message.metadata.__dict__["_message_id"] = message.object_id
    return Uploaded(
        proto=message_to_proto(remove_content_from_message(message)),
        tree=get_object_tree(message),
        objects={object_id: each.deflate() for object_id, each in objects.items()},
    )


def an_upload(question: str = QUESTION, node: int = NODE) -> Uploaded:
    """An honest node's; no two nodes have an object in common."""
    reply = Reply(client=0, update=VECTOR + (node - NODE), attempts=node)
    return uploaded(a_message(pack_reply(reply), question=question, node=node))


def an_inbox(shelf: Shelf, *, now: Callable[[], float] = lambda: 0.0) -> Inbox:
    return Inbox(shelf, node=Node(node_id=1), run_id=1, now=now)


def codes(shelf: Shelf, questions: Iterable[str] = (QUESTION,)) -> list[str]:
    """What the server makes of what came, in the order of the questions."""
    return [unpack_reply(0, reply).code for reply in an_inbox(shelf).pull_messages(questions)]


def with_object(upload: Uploaded, kind: str, change: Callable[[bytes], bytes]) -> Uploaded:
    """The upload with an object of a kind changed, under the id that the node announced for it."""
    return Uploaded(
        upload.proto,
        upload.tree,
        {
            object_id: change(content) if content.startswith(kind.encode() + b" ") else content
            for object_id, content in upload.objects.items()
        },
    )


def a_body(content: bytes, body: bytes) -> bytes:
    """An object of the same kind and children with another body."""
    kind, children, _ = content.split(b"\0", 1)[0].decode().split(" ")
    return f"{kind} {children} {len(body)}".encode() + b"\0" + body


def test_an_honest_reply_is_read_and_forgotten_by_the_superlink() -> None:
    shelf = Shelf({QUESTION: an_upload()})
    (reply,) = an_inbox(shelf).pull_messages([QUESTION])
    read = unpack_reply(3, reply)
    assert read.update is not None
    assert read.update.tolist() == VECTOR.tolist()
    assert (reply.metadata.src_node_id, reply.metadata.reply_to_message_id) == (NODE, QUESTION)
    assert shelf.confirmed == [reply.metadata.message_id]


def test_what_is_not_there_yet_is_asked_for_again() -> None:
    shelf = Shelf({})
    inbox = an_inbox(shelf)
    assert list(inbox.pull_messages([QUESTION])) == []
    shelf.replies[QUESTION] = an_upload()
    assert len(list(inbox.pull_messages([QUESTION]))) == 1


ODD_OBJECTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "records that are no JSON": ("RecordDict", lambda content: a_body(content, b"{[")),
    "records that are deep": ("RecordDict", lambda content: a_body(content, b"[" * 60_000)),
    "records of other records": ("RecordDict", lambda content: a_body(content, b'{"reply": "0"}')),
    "a record that is no record": ("ConfigRecord", lambda content: a_body(content, b"\xff" * 20)),
    "an array without chunks": ("Array", lambda content: a_body(content, b"{}")),
    "an array of a chunk that is not there": ("Array", lambda content: content.replace(b"[0]", b"[7]")),
    "an array that is a chunk": ("Array", lambda content: content.replace(b"Array", b"ArrayChunk")),
    "a kind that does not exist": ("ArrayRecord", lambda content: content.replace(b"ArrayRecord", b"Bomb")),
    "no head": ("Array", lambda _: b"x" * 40),
    "numbers that are none": ("ArrayChunk", lambda content: content.replace(b"ArrayChunk", b"RecordDict")),
    "numbers that are cut": ("ArrayChunk", lambda content: a_body(content, content.split(b"\0", 1)[1][:-2])),
}


@pytest.mark.parametrize("odd", ODD_OBJECTS)
def test_objects_that_cannot_be_read_are_a_malformed_reply_and_stop_nobody(odd: str) -> None:
    sound = an_upload()
    hostile = with_object(sound, *ODD_OBJECTS[odd])
    assert hostile.objects != sound.objects
    honest = an_upload(question="other", node=78)
    shelf = Shelf({QUESTION: hostile, "other": honest})
    assert codes(shelf, [QUESTION, "other"]) == ["malformed", ""]
    assert len(shelf.confirmed) == 2


def test_a_chunk_that_is_repeated_without_end_is_not_unfolded() -> None:
    """A few kilobytes that Flower's reading would make terabytes of."""

    def repeat(content: bytes) -> bytes:
        body = json.loads(content.split(b"\0", 1)[1])
        return a_body(content, json.dumps({**body, "arraychunk_ids": [0] * 20_000}).encode())

    large = np.zeros(1_000_000, dtype=np.float32)
    upload = uploaded(a_message(pack_reply(Reply(client=0, update=large, attempts=1))))
    assert codes(Shelf({QUESTION: with_object(upload, "Array", repeat)})) == ["malformed"]


def test_a_message_that_says_it_is_anothers_is_the_one_that_the_superlink_knows() -> None:
    """What a node uploads can claim another sender, and to answer another question."""
    claims = a_message(pack_reply(Reply(client=0, update=VECTOR, attempts=1)), question="other", node=78)
    upload = uploaded(claims)
    upload.proto.metadata.reply_to_message_id = QUESTION
    upload.proto.metadata.src_node_id = NODE
    (reply,) = an_inbox(Shelf({QUESTION: upload})).pull_messages([QUESTION, "other"])
    assert (reply.metadata.src_node_id, reply.metadata.reply_to_message_id) == (NODE, QUESTION)


def test_what_a_node_sends_unasked_is_dropped() -> None:
    unasked = an_upload(question="", node=79)
    shelf = Shelf({QUESTION: an_upload()}, unasked=[unasked])
    assert codes(shelf) == [""]
    assert unasked.proto.metadata.message_id in shelf.confirmed


def test_a_reply_of_many_objects_is_not_fetched() -> None:
    upload = an_upload()
    upload.tree.children.extend(ObjectTree(object_id=f"{number:064x}") for number in range(1000))
    assert codes(Shelf({QUESTION: upload})) == ["malformed"]


def test_a_reply_that_is_too_large_is_not_fetched_to_its_end() -> None:
    upload = an_upload()
    chunk = next(content for content in upload.objects.values() if content.startswith(b"ArrayChunk"))
    huge = a_body(chunk, b"\0" * 60_000_000)
    upload.objects |= {f"{number:064x}": huge for number in range(8)}
    upload.tree.children.extend(ObjectTree(object_id=f"{number:064x}") for number in range(8))
    assert codes(Shelf({QUESTION: upload})) == ["malformed"]


def test_an_upload_that_never_ends_holds_nobody_up_and_is_given_up() -> None:
    slow = with_object(an_upload(), "ArrayChunk", lambda _: b"")
    shelf = Shelf({QUESTION: slow, "other": an_upload(question="other", node=78)})
    clock = [0.0]
    inbox = an_inbox(shelf, now=lambda: clock[0])
    assert [each.metadata.reply_to_message_id for each in inbox.pull_messages([QUESTION, "other"])] == ["other"]
    clock[0] = 20.0
    assert list(inbox.pull_messages([QUESTION])) == []
    clock[0] = 40.0
    (given_up,) = inbox.pull_messages([QUESTION])
    assert unpack_reply(0, given_up).code == "client_error"


def test_an_upload_that_ends_late_is_read() -> None:
    whole = an_upload()
    shelf = Shelf({QUESTION: with_object(whole, "ArrayChunk", lambda _: b"")})
    inbox = an_inbox(shelf)
    assert list(inbox.pull_messages([QUESTION])) == []
    shelf.replies[QUESTION] = whole
    (reply,) = inbox.pull_messages([QUESTION])
    assert unpack_reply(0, reply).code == ""


def test_an_object_that_is_nowhere_is_a_malformed_reply() -> None:
    upload = an_upload()
    upload.objects.popitem()
    assert codes(Shelf({QUESTION: upload})) == ["malformed"]


def test_an_error_is_the_superlinks_or_the_nodes_word() -> None:
    assert codes(Shelf({QUESTION: uploaded(a_message(Error(3, "node unavailable")))})) == ["client_error"]


@given(st.dictionaries(st.sampled_from(["RecordDict", "ConfigRecord", "ArrayRecord", "Array"]), st.binary(max_size=60)))
@settings(max_examples=150, deadline=None)
def test_no_bodies_of_objects_stop_a_round(bodies: dict[str, bytes]) -> None:
    upload = an_upload()
    for kind, body in bodies.items():
        upload = with_object(upload, kind, lambda content, body=body: a_body(content, body))  # type: ignore[misc]
    (code,) = codes(Shelf({QUESTION: upload}))
    assert code in ("", "malformed")


def test_the_reply_in_these_tests_is_as_flower_uploads_it() -> None:
    """Ids are hashes of contents, and every object of the tree is there."""
    upload = an_upload()
    assert all(get_object_id(content) == object_id for object_id, content in upload.objects.items())
    kinds = {content.split(b" ", 1)[0] for content in upload.objects.values()}
    assert kinds == {b"Message", b"RecordDict", b"ConfigRecord", b"ArrayRecord", b"Array", b"ArrayChunk"}
    assert ConfigRecord({"code": "", "attempts": NODE}).object_id in upload.objects


def test_what_came_too_late_is_forgotten_unread_whether_it_was_told_of_or_not() -> None:
    questions = ["told", "came", "never"]
    half = an_upload("told")
    half = Uploaded(half.proto, half.tree, dict.fromkeys(half.objects, b""))
    shelf = Shelf({"told": half, "came": an_upload("came", NODE + 1)})
    inbox = an_inbox(shelf)
    assert list(inbox.pull_messages(["told"])) == []
    inbox.discard(questions)
    assert shelf.confirmed == [shelf.replies[each].proto.metadata.message_id for each in ("told", "came")]
    inbox.discard([])
    assert list(inbox.pull_messages(["never"])) == []
