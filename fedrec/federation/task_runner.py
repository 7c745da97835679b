"""Answering a SuperNode's tasks with the app that is installed here.

A task names the app that its server shipped: its content is never unpacked, never
written, never run. All that reaches the installed app is the message, which it treats as
a stranger's; all that leaves is its reply, or the name of the kind of fault.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.runtime.run_clientapp import push_message

from fedrec.errors import DataError
from fedrec.federation.objects import unfolded
from fedrec.federation.supernode import TaskSource

# How often a task is asked for, the SuperNode on its part asks its server every 3 seconds.
POLL_SECONDS = 0.5
# A SuperNode gives a task up that it has heard nothing of for 30.
_HEARTBEAT_SECONDS = 10.0
# Whatever kind of app a server wants, the installed one answers: a task that nobody takes holds the SuperNode for ever.
_KINDS = (TaskType.CLIENT_APP, TaskType.AGENT_APP)
# A question is itself, its records, and two vectors in pieces of 5 MiB.
_MOST_OBJECTS = 32
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How long one task took, in seconds: until the app was called with its message, and in the app."""

    start: float
    app: float


def answer_tasks(
    app: ClientApp, source: TaskSource, *, stop: threading.Event, told: Callable[[Answered], None] = lambda _: None
) -> None:
    """Answer tasks until `stop` is set; raises DataError when the SuperNode ends or fails, which then has to be new."""
    signing = SuperExecAuthHttpInterceptor(master_secret=source.secret, protected_methods={_ACQUIRE})
    request = AcquireTaskRequest(supported_task_types=_KINDS)
    try:
        with closing(_client(source, signing)) as client:
            while not stop.is_set():
                task = client.AcquireTask(request)
                if task.token:
                    told(_answer(app, source, task.token))
                else:
                    stop.wait(POLL_SECONDS)
    except Exception as error:  # whatever it was, a new SuperNode begins anew; the text could hold a stranger's words
        raise DataError(f"The SuperNode of this device failed or ended ({type(error).__name__}).") from None


def _answer(app: ClientApp, source: TaskSource, token: str) -> Answered:
    """One task is done: its message is answered, whatever happens in the app."""
    began = time.perf_counter()
    with closing(_client(source, RuntimeTokenHttpInterceptor(token))) as client, _heartbeat(client):
        message, context = _given(client)
        called = time.perf_counter()
        reply = _reply(app, message, context)
        ended = time.perf_counter()
        push_message(client, reply, context)
        client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.COMPLETED, details=""))
    return Answered(start=called - began, app=ended - called)


def _given(client: RuntimeHttpClient) -> tuple[Message, Context]:
    """The message of a task, in a context that holds nothing of the server's: no settings, no state.

    The answer also carries the app that the server shipped, as bytes that nothing here looks at. A
    message whose content cannot be read comes with an empty one, so that it can be refused.
    """
    given = client.PullTaskInput(PullTaskInputRequest())
    run, node = given.run.run_id, given.context.node_id
    # Flower builds a reply only inside a task: this process is that task now.
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = given.task_id, run, node
    found = client.PullMessages(PullAppMessagesRequest())
    if len(found.messages_list) != 1 or len(found.message_object_trees) != 1:
        raise ValueError("A task has one message.")
    tree, sender = found.message_object_trees[0], Node(node_id=node)
    context = Context(run_id=run, node_id=node, node_config={}, state=RecordDict(), run_config={})
    try:
        message = unfolded(tree.object_id, _contents(client, tree, sender, run))
    except httpx.HTTPError:
        raise
    except Exception:  # bytes of a stranger: no fault in them may stop this device
        found.messages_list[0].content.Clear()
        message = message_from_proto(found.messages_list[0])
    # A message's id is its content's: the content does not hold it.
    message.metadata.__dict__["_message_id"] = tree.object_id
    return message, context


def _contents(client: RuntimeHttpClient, tree: ObjectTree, sender: Node, run: int) -> Mapping[str, bytes]:
    """What the SuperNode has of a message, and forgets then; raises ValueError on more than one of ours is."""
    objects = [each.object_id for each in islice(iterate_object_tree(tree), _MOST_OBJECTS + 1)]
    few = len(objects) <= _MOST_OBJECTS
    pull = make_pull_object_fn_protobuf(client.PullObject, sender, run)
    contents = pull_objects(objects, pull) if few else {}
    make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, sender, run)(tree.object_id)
    if not few:
        raise ValueError("A question is a few objects.")
    return contents


def _reply(app: ClientApp, message: Message, context: Context) -> Message:
    """What the app answers; of a fault, its kind alone, as its text could hold data."""
    try:
        return app(message, context)
    except Exception as error:
        code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
        return Message(Error(code=code, reason=type(error).__name__), reply_to=message)


@contextmanager
def _heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    """The SuperNode hears of this task while the block runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            # One that is lost is followed by the next; a SuperNode that is gone shows in the block.
            with suppress(httpx.HTTPError, ValueError):
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _client(source: TaskSource, interceptor: ProtobufClientInterceptor) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        source.address, insecure=False, root_certificates=source.certificate, interceptors=[interceptor]
    )
