"""Flower's own SuperLink without its network: the same database, the same handlers, and nodes that may be hostile."""

import time
import warnings
from collections.abc import Callable
from typing import Any

from flwr.app import Message
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.server.superlink.linkstate.linkstate_factory import LinkStateFactory
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers

_HANDLERS = {
    "GetNodes": runtime_handlers.get_nodes,
    "PushMessages": runtime_handlers.push_messages,
    "PushObject": runtime_handlers.push_object,
    "PullMessages": runtime_handlers.pull_messages,
    "PullObject": runtime_handlers.pull_object,
    "ConfirmMessageReceived": runtime_handlers.confirm_message_received,
}


class InProcessSuperLink:
    """A SuperLink with one run and some nodes; `grid` is what Flower would hand to the ServerApp.

    database: a file, as a service has, or `:flwr-in-memory:`.
    """

    def __init__(self, database: str, *, nodes: int) -> None:
        with warnings.catch_warnings():
            # Flower's settings of alembic, whose defaults change.
            warnings.filterwarnings("ignore", message="No path_separator found", category=DeprecationWarning)
            factory = LinkStateFactory(database, NoOpFederationManager(), ObjectStoreFactory(database))
            self.state: Any = factory.state()
        self.run = self.state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        (run,) = self.state.get_run_info(run_ids=[self.run])
        self.state.claim_task(run.primary_task_id)
        self.state.activate_task(run.primary_task_id)
        (self.task,) = self.state.get_tasks(task_ids=[run.primary_task_id])
        self.nodes = [self.state.create_node(NOOP_FLWR_AID, "", f"key {each}".encode(), 600) for each in range(nodes)]
        for node in self.nodes:
            self.state.activate_node(node, 600)
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = self.run, run.primary_task_id, 1
        self.grid = HttpGrid(token="none")  # noqa: S106
        self.grid._client = self  # type: ignore[assignment]
        self.grid.set_run(run)

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        """The runtime interface, as the ServerApp's process reaches it."""
        handler = _HANDLERS[name]
        return lambda request: handler(request, self.state, self.task)  # type: ignore[operator]

    def question(self, node: int) -> Message:
        """The message that waits for a node."""
        response = fleet_handlers.pull_messages(
            PullMessagesRequest(node=Node(node_id=node)), self.state, self.state.object_store
        )
        (proto,), (tree,) = response.messages_list, response.message_object_trees
        contents = {each.object_id: self._object(node, each.object_id) for each in iterate_object_tree(tree)}
        message: Message = inflate_object_from_contents(proto.metadata.message_id, contents)  # type: ignore[assignment]
        message.metadata.__dict__["_message_id"] = proto.metadata.message_id
        return message

    def upload(
        self,
        node: int,
        message: Message,
        *,
        change: Callable[[bytes], bytes] = lambda content: content,
        inside: Message | None = None,
        only: int | None = None,
        took: float | None = None,
    ) -> None:
        """A node uploads its reply.

        change: done to each of its objects, whose ids follow. inside: the message that its objects hold, where that
        is another than the one it announces. only: how many of its objects it uploads. took: seconds that it says its
        app took.
        """
        objects = _changed(inside or message, change)
        root = next(reversed(objects))
        message.metadata.__dict__["_message_id"] = root
        tree = ObjectTree(object_id=root, children=[ObjectTree(object_id=each) for each in objects if each != root])
        request = PushMessagesRequest(
            node=Node(node_id=node),
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[tree],
            clientapp_runtime_list=[] if took is None else [took],
        )
        response = fleet_handlers.push_messages(request, self.state)
        for object_id in list(response.objects_to_push)[:only]:
            fleet_handlers.push_object(
                PushObjectRequest(
                    node=Node(node_id=node),
                    run_id=self.run,
                    object_id=object_id,
                    object_content=objects[object_id],
                    session_id=response.session_id,
                ),
                self.state,
            )

    def take_name(self, node: int, object_id: str) -> None:
        """A node announces something of its own under this name, in a message to the server that nobody asked for."""
        root = get_object_id(object_id.encode())
        announced = Metadata(
            run_id=self.run, message_id=root, src_node_id=1, dst_node_id=1, ttl=3600, message_type="train",
            created_at=time.time(),
        )  # fmt: skip
        request = PushMessagesRequest(
            node=Node(node_id=node),
            messages_list=[MessageProto(metadata=announced, content=RecordDictProto())],
            message_object_trees=[ObjectTree(object_id=root, children=[ObjectTree(object_id=object_id)])],
        )
        assert object_id in fleet_handlers.push_messages(request, self.state).objects_to_push

    def _object(self, node: int, object_id: str) -> bytes:
        request = PullObjectRequest(node=Node(node_id=node), run_id=self.run, object_id=object_id)
        return fleet_handlers.pull_object(request, self.state).object_content


def _changed(message: Message, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """The objects of a message by id, the message itself last; parents name what became of their children."""
    found: dict[str, bytes] = {}
    renamed: dict[str, str] = {}
    for object_id, each in get_all_nested_objects(message).items():
        content = each.deflate()
        for before, after in renamed.items():
            content = content.replace(before.encode(), after.encode())
        content = change(content)
        renamed[object_id] = get_object_id(content)
        found[renamed[object_id]] = content
    return found
