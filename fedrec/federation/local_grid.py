"""A Flower Grid in this process: no Ray, no network, the same ClientApp.

Each node is one client; messages are handled one at a time when replies are asked for, so
a round's memory does not grow with its cohort.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_SERVER_NODE = 1
_FIRST_NODE = 2
_CRASHED = 0


class LocalGrid(Grid):
    """Runs `app` for nodes that stand for clients 0 to `clients` - 1."""

    def __init__(self, app: ClientApp, *, clients: int) -> None:
        # Flower builds a Message only inside a task; in-process, this is that task.
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, _SERVER_NODE
        self._app = app
        self._contexts = [
            Context(
                run_id=1,
                node_id=_FIRST_NODE + client,
                node_config={"partition-id": client, "num-partitions": clients},
                state=RecordDict(),
                run_config={},
            )
            for client in range(clients)
        ]
        self._ids = map(str, itertools.count(1))
        self._waiting: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """There is one run, made with the grid."""

    @property
    def run(self) -> Run:
        return Run.create_empty(1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message from the server."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """One node per client."""
        return [context.node_id for context in self._contexts]

    def push_messages(self, messages: Iterable[Message]) -> Sequence[str]:
        """Queue messages and give them their ids; what nobody asked for of an earlier round is forgotten."""
        ids = []
        for message in messages:
            if self._waiting and next(iter(self._waiting.values())).metadata.group_id != message.metadata.group_id:
                self._waiting.clear()
            message.metadata.__dict__["_message_id"] = next(self._ids)
            ids.append(message.metadata.message_id)
            self._waiting[message.metadata.message_id] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Sequence[Message]:
        """Handle the first of these messages that is still queued: the others' replies are not there yet."""
        for message_id in message_ids:
            if message := self._waiting.pop(message_id, None):
                return [self._handle(message)]
        return []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Replies in the order of the messages; those not begun by `timeout` seconds are left out."""
        began = time.monotonic()
        for message_id in self.push_messages(messages):
            if timeout is not None and time.monotonic() - began > timeout:
                self._waiting.pop(message_id)
                continue
            yield from self.pull_messages([message_id])

    def _handle(self, message: Message) -> Message:
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id - _FIRST_NODE])
        except Exception:  # as on a real grid, a client's crash is an error reply
            return Message(Error(_CRASHED, "the client app crashed"), reply_to=message)
