"""What a registered node can upload to Flower's own SuperLink, and what the server makes of it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, Message, RecordDict
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.inflatable.inflatable_object import get_object_id, get_object_type_from_object_content

from fedrec.federation.exchange import Pace
from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.messages import TRAIN, pack_reply
from fedrec.training.client import Reply
from tests.federation.in_process_superlink import InProcessSuperLink
from tests.federation.test_grid_engine import SIZE, an_instruction

NODES = 3
HOSTILE_NODE = 1
Change = Callable[[bytes], bytes]
# What the hostile node does with the messages that wait for the nodes; the others answer by themselves.
Deed = Callable[[InProcessSuperLink, list[Message]], None]


@pytest.fixture(scope="module", params=["memory", pytest.param("file", marks=pytest.mark.slow)])
def link(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> InProcessSuperLink:
    """One for all, as it takes seconds to make its database; every round asks anew."""
    file = tmp_path_factory.mktemp("superlink") / "superlink.db"
    return InProcessSuperLink(str(file) if request.param == "file" else FLWR_IN_MEMORY_DB_NAME, nodes=NODES)


def an_answer(question: Message, *, number: int) -> Message:
    """What a node of this number would answer."""
    update = np.full(SIZE, number + 1, np.float32)
    return Message(pack_reply(Reply(client=-1, update=update, attempts=1)), reply_to=question)


def a_round(link: InProcessSuperLink, deed: Deed) -> list[Reply]:
    """The replies of a round. Where the server sleeps for the first time, the nodes answer."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        if not clock[0]:
            questions = [link.question(node) for node in link.nodes]
            deed(link, questions)
            for number in set(range(NODES)) - {HOSTILE_NODE}:
                link.upload(link.nodes[number], an_answer(questions[number], number=number))
        clock[0] += seconds

    pace = Pace(poll=1.0, now=lambda: clock[0], sleep=sleep)
    engine = GridEngine(link.grid, lambda: dict(enumerate(link.nodes)), pace=pace)
    return list(engine.collect(an_instruction(plan=None), range(NODES), timeout=60))


def said(replies: list[Reply]) -> dict[int, object]:
    """By client: the number that its update consists of, or its code."""
    return {each.client: each.code if each.update is None else float(each.update[0]) for each in replies}


def uploads(change: Change) -> Deed:
    """The hostile node changes the objects of its answer."""

    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        link.upload(link.nodes[HOSTILE_NODE], an_answer(questions[HOSTILE_NODE], number=HOSTILE_NODE), change=change)

    return deed


def of_kind(kind: str, change: Change) -> Change:
    return lambda content: change(content) if get_object_type_from_object_content(content) == kind else content


def a_body(content: bytes, body: bytes) -> bytes:
    kind, children, _ = content.split(b"\0", 1)[0].decode().split(" ")
    return f"{kind} {children} {len(body)}".encode() + b"\0" + body


def repeated(content: bytes) -> bytes:
    about = json.loads(content.split(b"\0", 1)[1])
    return a_body(content, json.dumps({**about, "arraychunk_ids": [0] * 5000}).encode())


UNREADABLE: dict[str, Change] = {
    "records that are no JSON": of_kind("RecordDict", lambda content: a_body(content, b"{[")),
    "an array that is no JSON": of_kind("Array", lambda content: a_body(content, b"\xff")),
    "a code that is no record": of_kind("ConfigRecord", lambda content: a_body(content, b"\xff" * 9)),
    "a message that is none": of_kind("Message", lambda content: a_body(content, b"\xff" * 9)),
}


def test_honest_nodes_are_heard(link: InProcessSuperLink) -> None:
    assert said(a_round(link, uploads(lambda content: content))) == {0: 1.0, 1: 2.0, 2: 3.0}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_upload_that_cannot_be_read_is_a_code_and_the_others_are_heard(link: InProcessSuperLink, name: str) -> None:
    assert said(a_round(link, uploads(UNREADABLE[name]))) == {0: 1.0, 1: "malformed", 2: 3.0}


@pytest.mark.parametrize("name", UNREADABLE)
def test_flowers_own_reading_would_end_the_round(link: InProcessSuperLink, name: str) -> None:
    """Why there is an inbox. Where this fails, a newer Flower may have made it needless."""
    (asked,) = link.grid.push_messages([Message(RecordDict(), link.nodes[0], TRAIN)])
    link.upload(link.nodes[0], an_answer(link.question(link.nodes[0]), number=0), change=UNREADABLE[name])
    with pytest.raises(Exception, match=r".") as fault:
        list(link.grid.pull_messages([asked]))
    assert not isinstance(fault.value, AssertionError)


def test_a_chunk_that_is_named_thousands_of_times_is_not_unfolded(link: InProcessSuperLink) -> None:
    large = np.zeros(100_000, dtype=np.float32)

    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        reply = Message(pack_reply(Reply(client=-1, update=large)), reply_to=questions[HOSTILE_NODE])
        link.upload(link.nodes[HOSTILE_NODE], reply, change=of_kind("Array", repeated))

    assert said(a_round(link, deed)) == {0: 1.0, 1: "malformed", 2: 3.0}


def test_what_a_reply_says_of_its_sender_inside_counts_for_nothing(link: InProcessSuperLink) -> None:
    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        inside = an_answer(questions[0], number=99)
        link.upload(link.nodes[HOSTILE_NODE], an_answer(questions[HOSTILE_NODE], number=99), inside=inside)

    assert said(a_round(link, deed)) == {0: 1.0, 1: 100.0, 2: 3.0}


def test_an_answer_to_the_question_of_another_node_is_not_taken(link: InProcessSuperLink) -> None:
    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        stolen = an_answer(questions[0], number=99)
        stolen.metadata.__dict__["_src_node_id"] = link.nodes[HOSTILE_NODE]
        link.upload(link.nodes[HOSTILE_NODE], stolen)

    assert said(a_round(link, deed)) == {0: 1.0, 2: 3.0}


def test_a_second_answer_is_not_taken(link: InProcessSuperLink) -> None:
    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        for number in (7, 8, 9):
            link.upload(link.nodes[HOSTILE_NODE], an_answer(questions[HOSTILE_NODE], number=number))

    assert said(a_round(link, deed)) == {0: 1.0, 1: 8.0, 2: 3.0}


def test_what_a_node_sends_the_server_unasked_is_dropped(link: InProcessSuperLink) -> None:
    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        unasked = Message(pack_reply(Reply(client=-1)), 1, TRAIN)
        link.upload(link.nodes[HOSTILE_NODE], unasked)
        uploads(lambda content: content)(link, questions)

    assert said(a_round(link, deed)) == {0: 1.0, 1: 2.0, 2: 3.0}


def test_who_takes_the_name_of_what_the_next_round_sends_does_not_stop_it(link: InProcessSuperLink) -> None:
    """The adapter of a round is that of the release before it, which everybody can read."""
    name = get_object_id(Array(an_instruction(plan=None).adapter).deflate())
    link.take_name(link.nodes[HOSTILE_NODE], name)
    deed = uploads(lambda content: content)
    assert said(a_round(link, deed)) == {0: 1.0, 1: 2.0, 2: 3.0}


def test_a_reply_that_is_announced_and_not_uploaded_holds_nobody_up(link: InProcessSuperLink) -> None:
    def deed(link: InProcessSuperLink, questions: list[Message]) -> None:
        link.upload(link.nodes[HOSTILE_NODE], an_answer(questions[HOSTILE_NODE], number=1), only=3)

    replies = a_round(link, deed)
    assert [each.client for each in replies] == [0, 2, 1]
    assert said(replies) == {0: 1.0, 1: "client_error", 2: 3.0}
