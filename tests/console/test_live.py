"""The stream of what changes, over real connections: told at once, to few, and only while they are in."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from fedrec.console.live import Live, Pace
from fedrec.errors import DataError
from fedrec.registry.registry import Registry
from fedrec.service.folder import ServiceFolder
from fedrec.web.access import SECRET_HEADER
from tests.console.conftest import Operated
from tests.console.serving import SOON, listening
from tests.console.worlds import Shop

Events = Iterator[tuple[str, dict[str, Any]]]


@pytest.fixture
def running(folder: ServiceFolder, registry: Registry) -> Iterator[tuple[int, Operated]]:
    with listening(folder, registry) as running:
        yield running


@contextmanager
def session(port: int, console: Operated) -> Iterator[httpx.Client]:
    """A browser that is signed in."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        entered = client.post("/console/session", json={"ticket": console.ticket()})
        client.headers[SECRET_HEADER] = entered.json()["secret"]
        yield client


@contextmanager
def stream(client: httpx.Client) -> Iterator[Events]:
    with client.stream("GET", "/console/v1/live") as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


def events(answer: httpx.Response) -> Events:
    """Name and content of each event."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_what_changes_is_told_and_what_does_not_is_not(running: tuple[int, Operated]) -> None:
    port, console = running
    shop = console.shop()
    with session(port, console) as client, stream(client) as told:
        name, content = next(told)
        assert (name, content["catalogues"][0]["now"]) == ("state", None)
        shop.say("waiting", connected=27, at=int(time.time()))
        name, content = next(each for each in told if each[0] == "state")
        assert content["catalogues"][0]["now"]["title"] == "Waiting for devices: 27 of 40"
        # Nothing more happens: only signs of life follow.
        assert [next(told)[0] for _ in range(2)] == ["beat", "beat"]


def test_a_stream_ends_with_its_session(running: tuple[int, Operated]) -> None:
    port, console = running
    with session(port, console) as client, stream(client) as told:
        next(told)
        assert client.post("/console/v1/leave").status_code == 200
        assert "end" in [name for name, _ in told]
        assert client.get("/console/v1/live").status_code == 401


def test_only_so_many_may_listen_and_a_place_is_free_again(running: tuple[int, Operated]) -> None:
    port, console = running
    with session(port, console) as client:
        with ExitStack() as listeners:
            heard = [listeners.enter_context(stream(client)) for _ in range(SOON.listeners)]
            assert [next(told)[0] for told in heard] == ["state"] * SOON.listeners
            with client.stream("GET", "/console/v1/live") as refused:
                assert refused.status_code == 503
                assert refused.headers["retry-after"]
        end = time.monotonic() + 20
        while console.app.state.console.live._listening and time.monotonic() < end:
            time.sleep(0.05)
        with stream(client) as told:
            assert next(told)[0] == "state"


def test_a_service_that_ends_does_not_wait_for_its_listeners(folder: ServiceFolder, registry: Registry) -> None:
    with ExitStack() as client_side:
        with listening(folder, registry) as (port, console):
            told = client_side.enter_context(stream(client_side.enter_context(session(port, console))))
            next(told)
        assert "end" in [name for name, _ in told]


def test_a_registry_that_does_not_answer_is_told_and_ends_nothing() -> None:
    looks = iter([{"catalogues": 1}, DataError("The registry does not answer."), {"catalogues": 2}])

    def look() -> dict[str, int]:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    live = Live(look, Pace(look=0.0))
    assert [live._told().split(b"\n")[0] for _ in range(3)] == [b"event: state", b"event: trouble", b"event: state"]


def test_the_stream_says_nothing_of_other_catalogues_devices(running: tuple[int, Operated]) -> None:
    port, console = running
    Shop(folder=console.folder, registry=console.registry, name="films").open().say("waiting", connected=3)
    with session(port, console) as client, stream(client) as told:
        connected = next(told)[1]["catalogues"][0]["now"]["connected"]
        assert connected == {"value": None, "at_least": 0, "words": "<5"}
