"""What controls a SuperLink is answered to who shows the secret of the service."""

import asyncio
from pathlib import Path

import httpx
import pytest
from flwr.cli import utils
from flwr.proto.control_pb2 import ListRunsRequest
from starlette.requests import Request
from starlette.responses import Response

from fedrec.errors import VerificationError
from fedrec.federation.control_secret import HEADER, SECRET_FILE, OnlyWithSecret, client_showing, secret_from

SECRET = "shown by this test"  # noqa: S105


def status_of(path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """What a gate before an application that answers everything says."""

    async def asked() -> int:
        transport = httpx.ASGITransport(app=OnlyWithSecret(Response("done"), secret=SECRET))
        async with httpx.AsyncClient(transport=transport, base_url="https://here") as client:
            return (await client.post(path, headers=headers)).status_code

    return asyncio.run(asked())


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1//control/start-run", "/docs", "/v1/fleet", "/anything"])
@pytest.mark.parametrize("shown", [[], [""], ["another"], [SECRET + "x"], [SECRET[:-1]], [SECRET, SECRET], ["é"]])
def test_who_shows_no_secret_is_refused(path: str, shown: list[str]) -> None:
    assert status_of(path, [(HEADER.encode(), each.encode()) for each in shown]) == 403


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/docs"])
def test_who_shows_it_is_answered(path: str) -> None:
    assert status_of(path, [(HEADER.encode(), SECRET.encode())]) == 200


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/v1/runtime/acquire-task", "/health"])
def test_what_asks_for_keys_of_its_own_is_let_through(path: str) -> None:
    assert status_of(path, []) == 200


def test_the_body_of_what_is_refused_is_not_read() -> None:
    async def never() -> dict[str, object]:
        raise AssertionError("read")

    said: list[int] = []

    async def send(message: object) -> None:
        said.append(message.get("status", 0))  # type: ignore[attr-defined]

    async def reads(scope: object, receive: object, _: object) -> None:
        await Request(scope, receive).body()  # type: ignore[arg-type]

    scope = {"type": "http", "path": "/v1/control/start-run", "headers": [], "method": "POST"}
    asyncio.run(OnlyWithSecret(reads, secret=SECRET)(scope, never, send))  # type: ignore[arg-type]
    assert said[0] == 403


def test_every_request_of_flowers_client_shows_it() -> None:
    shown: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers)
        return httpx.Response(200)

    client = client_showing(SECRET)("https://here")
    client._client = httpx.Client(transport=httpx.MockTransport(answer))
    client.ListRuns(ListRunsRequest())
    assert [headers.get_list(HEADER) for headers in shown] == [[SECRET]]


def test_flowers_commands_make_their_client_by_that_name() -> None:
    assert issubclass(client_showing(SECRET), utils.ControlHttpClient)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_without_a_secret_there_is_no_service(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "control.secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VerificationError, match="holds no secret"):
        secret_from({SECRET_FILE: str(path)})
    with pytest.raises(VerificationError, match=SECRET_FILE):
        secret_from({})
