"""Replies as a SuperLink has them, read without trusting what a node put into them.

Flower's own reading raises on objects that cannot be read, which would end the round for all; it waits for one upload
while others are ready; it repeats a chunk as often as a node says; and it believes what a reply's own bytes say about
who sent it, and in answer to what. Here, who and what is the SuperLink's word, and the rest is a reply or none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from flwr.app import Error, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde_utils import error_from_proto, metadata_from_proto
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
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.superlink.grid.http_grid import HttpGrid

from fedrec.federation.objects import MOST_BYTES, unfolded

# A reply is a message, its two records, and one array in chunks of 5 MiB: 60 MiB at most.
_MOST_OBJECTS = 16
# Seconds until a reply that is not wholly uploaded is given up.
_LONGEST_UPLOAD = 30.0


class SuperLink(Protocol):
    """What is asked of Flower's runtime interface."""

    def PullMessages(self, request: PullAppMessagesRequest) -> PullAppMessagesResponse: ...  # noqa: N802

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse: ...  # noqa: N802

    def ConfirmMessageReceived(  # noqa: N802
        self, request: ConfirmMessageReceivedRequest
    ) -> ConfirmMessageReceivedResponse: ...


class Source(Protocol):
    """Where replies are taken from: an inbox, or the grid itself where nothing lies between the nodes and us."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages that are there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Announced:
    """A reply that the SuperLink told of. said: the reply without its records."""

    said: Message
    objects: Sequence[str]
    since: float


class Inbox:
    """The replies to one round's messages. now: seconds of a clock that never jumps."""

    def __init__(self, superlink: SuperLink, *, node: Node, run_id: int, now: Callable[[], float]) -> None:
        self._superlink = superlink
        self._node = node
        self._run_id = run_id
        self._now = now
        self._announced: dict[str, _Announced] = {}

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """The replies to these messages that are wholly there; one that cannot be read has no records."""
        wanted = list(message_ids)
        # A reply is told of once: asked again, the SuperLink would say that it is lost.
        if untold := [message_id for message_id in wanted if message_id not in self._announced]:
            response = self._superlink.PullMessages(PullAppMessagesRequest(message_ids=untold))
            for proto, tree in zip(response.messages_list, response.message_object_trees, strict=False):
                if proto.metadata.reply_to_message_id not in untold:
                    # The SuperLink also hands out what a node addressed to it of its own accord.
                    self._confirm(proto.metadata.message_id)
                    continue
                announced = _Announced(said=_said(proto), objects=_ids(tree), since=self._now())
                self._announced[proto.metadata.reply_to_message_id] = announced
        for message_id in wanted:
            if message_id in self._announced and (reply := self._read(self._announced[message_id])):
                del self._announced[message_id]
                yield reply

    def discard(self, message_ids: Iterable[str]) -> None:
        """What came to these messages is forgotten unread, here and in the SuperLink."""
        wanted = list(message_ids)
        for announced in [self._announced.pop(each) for each in wanted if each in self._announced]:
            wanted.remove(announced.said.metadata.reply_to_message_id)
            self._confirm(announced.said.metadata.message_id)
        if wanted:
            for proto in self._superlink.PullMessages(PullAppMessagesRequest(message_ids=wanted)).messages_list:
                self._confirm(proto.metadata.message_id)

    def _read(self, announced: _Announced) -> Message | None:
        """The reply; None where the rest of it may still come."""
        said = announced.said
        message_id = said.metadata.message_id
        if not said.has_error():
            try:
                contents = self._fetched(announced.objects)
            except ValueError:
                contents = {}
            if contents is None:
                late = self._now() - announced.since > _LONGEST_UPLOAD
                return _lost(said) if late else None
            said = make_message(said.metadata, _records(message_id, contents))
        self._confirm(message_id)
        return said

    def _fetched(self, objects: Sequence[str]) -> dict[str, bytes] | None:
        """What is in a reply's objects; None where one was not uploaded yet, and nothing is held of the others.

        Raises ValueError on more than a reply of ours is.
        """
        if len(objects) > _MOST_OBJECTS:
            raise ValueError("A reply is a few objects.")
        contents: dict[str, bytes] = {}
        for object_id in objects:
            content = self._pull(object_id)
            if content is None:
                return None
            contents[object_id] = content
            if sum(map(len, contents.values())) > MOST_BYTES:
                raise ValueError("A reply is one vector.")
        return contents

    def _confirm(self, message_id: str) -> None:
        """Let the SuperLink forget a message."""
        self._superlink.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=self._run_id, message_object_id=message_id)
        )

    def _pull(self, object_id: str) -> bytes | None:
        """An object; None where it was not uploaded yet."""
        request = PullObjectRequest(node=self._node, run_id=self._run_id, object_id=object_id)
        response = self._superlink.PullObject(request)
        if not response.object_found:
            raise ValueError("An object of it is nowhere.")
        return response.object_content if response.object_available else None


def inbox_of(grid: Grid, *, now: Callable[[], float]) -> Source:
    """Where the replies to a round's messages are taken from."""
    if isinstance(grid, HttpGrid):
        return Inbox(grid._runtime_client, node=grid.node, run_id=grid.run.run_id, now=now)
    return grid


def _ids(tree: ObjectTree) -> list[str]:
    """The ids of a tree's objects, at most one more than is read."""
    return [each.object_id for each in islice(iterate_object_tree(tree), _MOST_OBJECTS + 1)]


def _said(proto: MessageProto) -> Message:
    """What the SuperLink knows of a reply: who, to what, and an error instead of records where there is one."""
    metadata = metadata_from_proto(proto.metadata)
    if proto.HasField("error"):
        return make_message(metadata, error=error_from_proto(proto.error))
    return make_message(metadata, RecordDict())


def _lost(said: Message) -> Message:
    error = Error(code=ErrorCode.MESSAGE_UNAVAILABLE, reason="The reply was not wholly uploaded in time.")
    return make_message(said.metadata, error=error)


def _records(message_id: str, contents: dict[str, bytes]) -> RecordDict:
    """The records in the objects of a reply; none where they cannot be read."""
    try:
        return unfolded(message_id, contents).content
    except Exception:  # bytes of a stranger: no fault in them may stop a round
        return RecordDict()
