from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fedrec.registry.registry import Registry
from fedrec.service.front import create_front
from tests.ondevice.device_worlds import a_world
from tests.registry.presses import Press
from tests.registry.serving import listening


async def _console(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for whatever takes what is not the front's own; it fails where it is told to."""
    path = Request(scope).url.path
    if path == "/console/fails":
        raise RuntimeError("a title, a user id or a key")
    await PlainTextResponse(f"console {path}")(scope, receive, send)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}") as opened:
        yield opened


@pytest.fixture
def front(registry: Registry) -> Iterator[httpx.Client]:
    with (
        listening(create_front(registry, console=_console)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


def test_the_front_answers_those_who_watch_it(front: httpx.Client) -> None:
    assert front.get("/health").json() == {"answers": True}


def test_releases_are_served_beside_the_console(front: httpx.Client, registry: Registry, tmp_path: Path) -> None:
    press = Press(folder=tmp_path / "made", world=a_world())
    row = press.publish(registry, 1)
    registry.promote("films", row.id, key=press.key, now=1)
    assert front.get("/v1/releases/films/current").status_code == 200
    assert front.get(f"/v1/releases/films/{row.manifest_hash}/manifest.json").status_code == 200
    assert front.get("/v1/releases/films/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/console/", "/metrics", "/console/session"])
def test_what_is_not_the_fronts_own_is_the_consoles(front: httpx.Client, path: str) -> None:
    assert front.get(path).text == f"console {path}"


def test_without_a_console_releases_are_served_all_the_same(registry: Registry) -> None:
    with listening(create_front(registry)) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/console/", trust_env=False).status_code == 404


def test_a_fault_is_a_number_and_never_its_own_words(front: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    answer = front.get("/console/fails")
    assert answer.status_code == 500
    assert "title" not in answer.text
    said = capfd.readouterr()
    assert "RuntimeError" in said.err
    assert "title" not in said.out + said.err


def test_a_registry_that_is_gone_is_later_and_not_never(
    front: httpx.Client, registry: Registry, tmp_path: Path
) -> None:
    press = Press(folder=tmp_path / "made", world=a_world())
    row = press.publish(registry, 1)
    registry.promote("films", row.id, key=press.key, now=1)
    for path in (tmp_path / "artifacts").rglob("*"):
        if path.is_file():
            path.unlink()
    manifest = front.get(f"/v1/releases/films/{row.manifest_hash}/manifest.json").json()
    answer = front.get(f"/v1/releases/blobs/{next(iter(manifest['files'].values()))}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
