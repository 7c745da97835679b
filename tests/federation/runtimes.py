"""Flower's own local server of tasks in this process, as a SuperNode has it, without a server behind it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn
from flwr.app import Context, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from fedrec.federation.hidden_files import hidden_files
from fedrec.federation.supernode import TaskSource
from fedrec.ondevice.loopback import LOOPBACK, loopback_identity
from tests.federation.superlinks import free_port

NODE, RUN = 7, 11
SECRET = b"s" * 32
Spoil = Callable[[bytes], bytes]


@dataclass
class Runtime:
    """A SuperNode's tasks and replies. fab: the app that its server shipped, whatever that is."""

    source: TaskSource
    state: object
    objects: object
    fab: bytes = b"PK\x03\x04 no app at all"
    settings: dict[str, object] = field(default_factory=dict)

    def send(self, content: RecordDict, kind: str, *, task: str = "flwr-clientapp", spoil: Spoil | None = None) -> str:
        """A message of the server waits to be answered; spoil: what becomes of each object under its old id."""
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN, 1, 1
        shipped = self.state.store_fab(Fab("", self.fab, {}))
        self.state.store_run(replace(Run.create_empty(RUN), fab_hash=shipped, series_id=3))
        given = Context(run_id=RUN, node_id=NODE, node_config={}, state=RecordDict(), run_config=self.settings)
        self.state.set_run_series_context(3, given)
        message = Message(content, NODE, kind)
        message.metadata.__dict__["_message_id"] = message.object_id
        self.state.store_message(remove_content_from_message(message))
        self.objects.preregister(RUN, get_object_tree(message))
        for name, each in get_all_nested_objects(message).items():
            self.objects.put(name, each.deflate())
        if spoil is not None:
            for name in list(self.objects.store):
                self.objects.store[name].content = spoil(self.objects.store[name].content)
        self.state.create_task(task_type=task, run_id=RUN, fab_hash=shipped)
        return message.metadata.message_id

    def replies(self) -> list[Message]:
        """What was answered since it was asked last."""
        return list(self.state.get_messages_legacy(is_reply=True))


@contextmanager
def a_runtime() -> Iterator[Runtime]:
    """A SuperNode's local server until the end of the block."""
    objects = ObjectStoreFactory()
    states = NodeStateFactory(objectstore_factory=objects)
    states.state().set_node_id(NODE)
    identity, port = loopback_identity(), free_port()
    with hidden_files({"certificate": identity.certificate, "key": identity.key}) as files:
        config = uvicorn.Config(
            create_app(states, SECRET),
            host=LOOPBACK,
            port=port,
            ssl_certfile=files.paths["certificate"],
            ssl_keyfile=files.paths["key"],
            log_level="critical",
            ws="none",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
    try:
        source = TaskSource(f"{LOOPBACK}:{port}", SECRET, identity.certificate)
        yield Runtime(source, states.state(), objects.store())
    finally:
        server.should_exit = True
        thread.join()


def files_below(folder: Path) -> set[Path]:
    """Everything that lies in a folder."""
    return set(folder.rglob("*"))
