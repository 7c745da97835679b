"""Tasks are answered with what is installed here: nothing that a server ships is unpacked, written or run."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.errors import DataError
from fedrec.federation.supernode import TaskSource
from fedrec.federation.task_runner import Answered, answer_tasks
from fedrec.ondevice.loopback import loopback_identity
from tests.federation.runtimes import Runtime, a_runtime, files_below
from tests.federation.superlinks import free_port

pytestmark = pytest.mark.slow

Handler = Callable[[Message, Context], Message]


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with a_runtime() as started:
        yield started


def an_app(handler: Handler) -> ClientApp:
    app = ClientApp()
    app.train()(handler)
    return app


def echo(message: Message, _: Context) -> Message:
    return Message(RecordDict({"said": message.content["asked"]}), reply_to=message)


def answer(runtime: Runtime, handler: Handler = echo, *, tasks: int = 1, source: TaskSource | None = None) -> None:
    """Run until so many tasks are answered."""
    stop, done = threading.Event(), []

    def told(answered: Answered) -> None:
        done.append(answered)
        if len(done) == tasks:
            stop.set()

    answer_tasks(an_app(handler), source or runtime.source, stop=stop, told=told)
    assert all(each.start >= 0 and each.app >= 0 for each in done)


def asked(**what: object) -> RecordDict:
    return RecordDict({"asked": ConfigRecord({"word": "hello", **what})})


def test_a_task_is_answered_by_the_installed_app(runtime) -> None:
    question = runtime.send(asked(), "train")
    answer(runtime)
    (reply,) = runtime.replies()
    assert reply.metadata.reply_to_message_id == question
    assert not reply.has_error()


def test_tasks_are_answered_one_after_the_other(runtime) -> None:
    # A SuperNode hands its next message out when this one is answered.
    for number in range(3):
        question = runtime.send(asked(number=number), "train")
        answer(runtime)
        (reply,) = runtime.replies()
        assert reply.metadata.reply_to_message_id == question
        runtime.state.delete_messages(message_ids=[question, reply.metadata.message_id])


def test_what_a_server_ships_is_not_unpacked_written_or_run(runtime, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.chdir(tmp_path)
    hostile = io.BytesIO()
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("pyproject.toml", '[tool.flwr.app.components]\nclientapp = "evil:app"\n')
        archive.writestr("evil.py", f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    runtime.fab = hostile.getvalue()
    before = files_below(tmp_path)
    runtime.send(asked(), "train")
    answer(runtime)
    assert runtime.replies()
    assert files_below(tmp_path) == before
    assert "evil" not in sys.modules


def test_nothing_of_a_servers_settings_reaches_the_app(runtime) -> None:
    runtime.settings = {"device": "/somewhere", "out": "/somewhere"}
    seen = []

    def look(message: Message, context: Context) -> Message:
        seen.append(context)
        return echo(message, context)

    runtime.send(asked(), "train")
    answer(runtime, look)
    (context,) = seen
    assert (context.run_config, context.node_config, len(context.state)) == ({}, {}, 0)


def test_of_a_fault_its_kind_leaves_and_not_its_words(runtime) -> None:
    def fails(*_: object) -> Message:
        raise RuntimeError("somebody's private film")

    runtime.send(asked(), "train")
    answer(runtime, fails)
    (reply,) = runtime.replies()
    assert reply.error.reason == "RuntimeError"
    assert "film" not in str(reply.error)


@pytest.mark.parametrize("kind", ["evaluate", "query", "train.other", "system.get_inventory"])
def test_a_question_that_the_app_has_no_answer_to_is_refused(runtime, kind) -> None:
    runtime.send(asked(), kind)
    answer(runtime)
    (reply,) = runtime.replies()
    assert reply.has_error()


def test_a_message_that_is_not_what_it_says_is_refused_and_the_next_one_answered(runtime) -> None:
    question = runtime.send(asked(), "train", spoil=lambda _: b"spoilt")
    answer(runtime)
    (reply,) = runtime.replies()
    assert (reply.has_error(), reply.metadata.reply_to_message_id) == (True, question)
    runtime.state.delete_messages()
    runtime.send(asked(number=2), "train")
    answer(runtime)
    assert not runtime.replies()[0].has_error()


def test_a_question_of_a_few_bytes_that_stand_for_terabytes_is_refused(runtime) -> None:
    def repeated(content: bytes) -> bytes:
        head, divider, body = content.partition(b"\0")
        if not head.startswith(b"Array "):
            return content
        body = json.dumps({**json.loads(body), "arraychunk_ids": [0] * 10_000}).encode()
        kind, children, _ = head.decode().split(" ")
        return f"{kind} {children} {len(body)}".encode() + divider + body

    vector = ArrayRecord({"vector": Array(np.zeros(1_000_000, np.float32))})
    runtime.send(RecordDict({**asked(), "adapter": vector}), "train", spoil=repeated)
    answer(runtime)
    assert runtime.replies()[0].has_error()


def test_a_question_of_very_many_objects_is_refused(runtime) -> None:
    arrays = {str(number): Array(np.full(1, number, np.float32)) for number in range(100)}
    runtime.send(RecordDict({**asked(), "adapter": ArrayRecord(arrays)}), "train")
    answer(runtime)
    assert runtime.replies()[0].has_error()


def test_a_task_of_another_kind_is_answered_by_the_same_app_and_does_not_hold_the_node(runtime) -> None:
    question = runtime.send(asked(), "query", task="flwr-agentapp")
    answer(runtime)
    (reply,) = runtime.replies()
    assert (reply.has_error(), reply.metadata.reply_to_message_id) == (True, question)


def test_who_lacks_the_secret_gets_no_task(runtime) -> None:
    runtime.send(asked(), "train")
    with pytest.raises(DataError):
        answer(runtime, source=TaskSource(runtime.source.address, b"x" * 32, runtime.source.certificate))


def test_who_listens_at_the_port_without_the_certificate_gets_no_answer(runtime) -> None:
    runtime.send(asked(), "train")
    with pytest.raises(DataError):
        answer(
            runtime, source=TaskSource(runtime.source.address, runtime.source.secret, loopback_identity().certificate)
        )
    assert not runtime.replies()


def test_a_supernode_that_is_gone_is_told(runtime) -> None:
    with pytest.raises(DataError, match="ended"):
        answer(runtime, source=TaskSource(f"127.0.0.1:{free_port()}", b"s" * 32, runtime.source.certificate))


def test_answering_needs_no_torch() -> None:
    program = (
        "import sys, fedrec.federation.taking_part, fedrec.cli.client_fleet\n"
        "print(sorted({'torch', 'polars', 'scipy', 'dp_accounting', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
