"""The typed client against an agent that really listens on loopback."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from fedrec.agent.client import AgentClient
from fedrec.agent.running import PORT_FILE
from fedrec.agent.tokens import running_token
from fedrec.data.events import Kind
from fedrec.errors import DataError, RefusedError
from fedrec.ondevice.engine import Engine
from fedrec.web.serve import listen
from tests.agent.serving import listening
from tests.ondevice.device_worlds import a_device, an_event


@pytest.fixture(scope="module")
def running(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, int]]:
    device = a_device(tmp_path_factory.mktemp("home") / "device", release)
    with Engine.open(device, keys="file") as engine, listening(engine) as (port, _):
        yield engine, port


@pytest.fixture
def client(running: tuple[Engine, int]) -> AgentClient:
    engine, port = running
    made = AgentClient(port, token=running_token(engine.device))
    made.erase(confirm="erase")
    return made


def test_what_a_product_records_is_recommended_from(client: AgentClient) -> None:
    assert len(client.record([an_event("i3", Kind.LIKE), an_event(None, Kind.SEARCH, text="calm sea")]).ids) == 2
    found = client.recommend(5, session=["i1"], label="evening")
    assert len(found.items) == 5
    assert found.context.session == ("i1",)
    assert found.items[0].reasons[0].share > 0
    why = client.explain(found.items[0].item_id)
    assert sum(part.contribution for part in why.parts) == pytest.approx(why.score, rel=1e-5, abs=1e-5)
    assert [one.said for one in client.context().recent] == ["you searched for “calm sea”", "you liked Title 3"]
    assert client.find("title 7").items[0].item_id == "i7"


def test_a_product_can_do_all_that_the_page_can(client: AgentClient) -> None:
    given = client.feedback("save", "i9")
    assert client.undo(given.id).action == "save"
    client.record([an_event(f"i{item}", Kind.LIKE) for item in (1, 5, 9, 13)])
    cluster = client.profile().clusters[0]
    assert client.rename_cluster(cluster.id, "Mine").clusters[0].name == "Mine"
    assert client.mute_cluster(cluster.id).clusters[0].muted
    assert client.change_settings(diversity=0.9).diversity == client.settings().diversity == 0.9
    assert client.privacy().uploads == ()
    assert not client.participation().on
    assert not client.opt_out().on
    assert client.pause(24).paused_until
    assert client.pause(0).paused_until is None
    assert client.tell_state(idle=True).possible is False
    assert len(client.export()["events"]) == 4
    assert client.release().items == 60
    assert "#ticket=" in client.page_address()


def test_what_the_device_refuses_is_an_error_with_its_own_line(client: AgentClient) -> None:
    with pytest.raises(RefusedError, match="WITHOUT privacy"):
        client.opt_in()
    with pytest.raises(RefusedError, match="earlier release"):
        client.roll_back()
    with pytest.raises(RefusedError, match="the word `erase`"):
        client.erase(confirm="yes")
    with pytest.raises(DataError, match="no item of this id"):
        client.explain("none / such?")
    with pytest.raises(DataError, match=r"events\.0"):
        client.record([replace(an_event("i1"), timestamp=-1)])


def test_an_agent_that_does_not_hold_the_token_is_not_spoken_to(running: tuple[Engine, int]) -> None:
    with pytest.raises(DataError, match="No agent runs"):
        AgentClient(running[1], token="x" * 43).settings()


def test_an_agent_that_does_not_run_is_said(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="No agent runs for DEVICE"):
        AgentClient(port, token="none").settings()  # noqa: S106
    with pytest.raises(DataError, match="No agent runs"):
        AgentClient.of(tmp_path)


def test_the_client_of_a_device_finds_its_agent(running: tuple[Engine, int]) -> None:
    engine, port = running
    (engine.device / PORT_FILE).write_text(f"{port}\n")
    assert AgentClient.of(engine.device).release().id == engine.release.id


def test_no_proxy_of_the_environment_hears_of_it(client: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert client.settings()


def test_the_agent_listens_on_loopback_only() -> None:
    with listen(0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(DataError, match="Choose another"):
            listen(taken.getsockname()[1])


def test_answers_are_sent_at_once() -> None:
    with listen(0) as taken:
        assert taken.proto == socket.IPPROTO_TCP


def test_several_products_may_ask_at_once(client: AgentClient) -> None:
    failed: list[Exception] = []

    def busy(item: int) -> None:
        try:
            for turn in range(4):
                client.record([an_event(f"i{item}", Kind.VIEW, time=1_700_000_000 + turn)])
                client.recommend(3)
                client.feedback("skip", f"i{item + 20}")
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=busy, args=(item,)) for item in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    # Eight people skip one item each, however often they say so; looking is counted each time.
    assert client.context().events >= 8 * 4 + 8


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("fedrec.agent.client", {"numpy", "fastapi", "pydantic", "uvicorn", "sqlcipher3", "cryptography"}),
        ("fedrec.agent.app", {"torch", "polars", "scipy", "dp_accounting", "flwr", "onnxruntime", "tokenizers"}),
    ],
)
def test_what_a_small_computer_loads_is_small(module: str, heavy: set[str]) -> None:
    script = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
