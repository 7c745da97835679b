"""The link that the command line prints: it opens the console that runs, and is told to nobody else."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest
from typer.testing import CliRunner

from fedrec.cli.server import app
from fedrec.console.entrance import console_link
from fedrec.console.tickets import metrics_token, operator_token
from fedrec.errors import RefusedError
from fedrec.registry.registry import Registry
from fedrec.service.folder import ServiceFolder
from tests.console.serving import listening


class Squatter(BaseHTTPRequestHandler):
    """Somebody else on the port, who would like to be told a ticket."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"proof": "00"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def squatter() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Squatter,), {"asked": []}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def on_port(folder: ServiceFolder, port: int) -> ServiceFolder:
    """The service's settings name this port for its front."""
    text = folder.config.read_text()
    assert "front_port = 9480" in text
    folder.config.write_text(text.replace("front_port = 9480", f"front_port = {port}"))
    return folder


def test_the_link_opens_the_console_that_runs(folder: ServiceFolder, registry: Registry) -> None:
    with listening(folder, registry) as (port, _):
        address = console_link(on_port(folder, port))
        page, _, ticket = address.partition("#ticket=")
        assert page == f"http://127.0.0.1:{port}/console/"
        with httpx.Client(trust_env=False) as client:
            assert client.get(page).status_code == 200
            entered = client.post(f"http://127.0.0.1:{port}/console/session", json={"ticket": ticket})
        assert entered.status_code == 200


def test_the_command_prints_it(folder: ServiceFolder, registry: Registry) -> None:
    with listening(folder, registry) as (port, _):
        on_port(folder, port)
        said = CliRunner().invoke(app, ["console", str(folder.path), "--json"])
        assert json.loads(said.stdout)["address"].startswith(f"http://127.0.0.1:{port}/console/#ticket=")
        assert operator_token(folder) not in said.stdout


def test_no_link_is_made_for_a_service_that_does_not_run(folder: ServiceFolder) -> None:
    with pytest.raises(RefusedError, match="No console runs"):
        console_link(on_port(folder, 1))


def test_somebody_else_on_the_port_is_told_nothing(folder: ServiceFolder, squatter: HTTPServer) -> None:
    with pytest.raises(RefusedError, match="No console runs"):
        console_link(on_port(folder, squatter.server_port))
    asked = squatter.RequestHandlerClass.asked  # type: ignore[attr-defined]
    assert len(asked) == 1
    assert operator_token(folder) not in asked[0]


def test_the_command_prints_what_prometheus_needs(folder: ServiceFolder) -> None:
    said = CliRunner().invoke(app, ["console", str(folder.path), "--metrics"])
    assert said.stdout.strip() == metrics_token(operator_token(folder))
