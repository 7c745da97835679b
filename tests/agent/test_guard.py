"""Who is let in: the device's own products and its own page, and nobody else."""

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from fedrec.agent.tokens import agent_token, running_token
from fedrec.errors import VerificationError
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.participation import participation
from fedrec.web.access import SECRET_HEADER
from fedrec.web.limits import Limits
from fedrec.web.proofs import proof
from fedrec.web.sessions import Sessions
from tests.agent.conftest import HOME, PORT, Agent, Caller, an_agent
from tests.ondevice.device_worlds import a_device


@pytest.fixture(scope="module")
def agent(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent for all of these: they hardly get past its door."""
    with Engine.open(a_device(tmp_path_factory.mktemp("home") / "device", release), keys="file") as engine:
        yield an_agent(engine)


def in_session(agent: Agent) -> tuple[Caller, str]:
    """The page, let in by a ticket, and its secret."""
    page = agent.caller()
    entered = page.post("/session", json={"ticket": agent.app.state.sessions.ticket()})
    assert entered.status_code == 200
    return page, entered.json()["secret"]


@pytest.mark.parametrize("path", ["/v1/profile", "/v1/export", "/v1/recommendations", "/openapi.json", "/v1/none"])
def test_a_request_without_a_token_is_refused(agent: Agent, path: str) -> None:
    answer = agent.caller().get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("given", ["Bearer no", "Bearer", "Basic {}", "Bearer {}x", "Bearer \xff", "{}"])
def test_a_wrong_token_is_refused(agent: Agent, given: str) -> None:
    header = given.format(agent.token).encode("latin-1")
    answer = agent.caller().get("/v1/profile", headers={b"Authorization": header})
    assert answer.status_code == 401


def test_the_token_lets_a_product_in(product: Caller) -> None:
    assert product.get("/v1/settings").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"127.0.0.1.evil:{PORT}", ""]
)
def test_a_foreign_host_is_refused_even_with_the_token(product: Caller, host: str) -> None:
    for path in ("/v1/settings", "/", "/session"):
        assert product.get(path, headers={"Host": host}).status_code == 403


def test_localhost_is_the_same_service(product: Caller) -> None:
    assert product.get("/v1/settings", headers={"Host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", f"https://127.0.0.1:{PORT}"])
def test_a_foreign_origin_is_refused_even_with_the_token(product: Caller, origin: str) -> None:
    assert product.get("/v1/settings", headers={"Origin": origin}).status_code == 403
    assert product.request("OPTIONS", "/v1/settings", headers={"Origin": origin}).status_code == 403


def test_the_own_origin_is_let_in_and_no_other_is_named_in_answers(product: Caller) -> None:
    answer = product.get("/v1/settings", headers={"Origin": HOME})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_asks_for_is_refused(agent: Agent, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert agent.product().get("/v1/settings", headers=headers).status_code == 403
    assert agent.caller().get("/page/app.js", headers=headers).status_code == 403
    assert agent.caller().post("/", headers=headers).status_code == 403


def test_a_link_from_elsewhere_may_open_the_page_but_not_a_frame(agent: Agent) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert agent.caller().get("/", headers=headers).status_code == 200
    assert agent.caller().get("/", headers={**headers, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_a_ticket_opens_a_session_once(agent: Agent) -> None:
    ticket = agent.app.state.sessions.ticket()
    entered = agent.caller().post("/session", json={"ticket": ticket})
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert agent.token not in cookie + entered.text
    again = agent.caller().post("/session", json={"ticket": ticket})
    assert again.status_code == 401


def test_a_second_tab_joins_the_session_of_the_first(agent: Agent) -> None:
    page, secret = in_session(agent)
    again = page.post("/session", json={"ticket": agent.app.state.sessions.ticket()})
    assert again.json()["secret"] == secret
    assert page.get("/v1/settings", headers={SECRET_HEADER: secret}).status_code == 200
    assert page.post("/session", json={"ticket": "none"}).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_cookie_without_the_secret_is_refused(agent: Agent, method: str) -> None:
    page, secret = in_session(agent)
    path = {"GET": "/v1/profile", "POST": "/v1/erase", "PUT": "/v1/settings"}[method]
    assert page.request(method, path).status_code == 403
    assert page.request(method, path, headers={SECRET_HEADER: f"{secret}x"}).status_code == 403
    assert agent.caller(**{SECRET_HEADER: secret}).request(method, path).status_code == 401


def test_a_session_with_both_is_let_in(agent: Agent) -> None:
    page, secret = in_session(agent)
    assert page.put("/v1/settings", json={"diversity": 0.9}, headers={SECRET_HEADER: secret}).status_code == 200


def test_a_broken_cookie_is_no_session(agent: Agent) -> None:
    for cookie in ("fedrec_8799", "a=b; \x7f=\x00", 'fedrec_8799="\\', "=" * 5000):
        answer = agent.caller().get("/v1/profile", headers={b"Cookie": cookie.encode()})
        assert answer.status_code == 401


def test_a_body_that_is_too_large_is_refused_announced_or_not(engine: Engine) -> None:
    product = an_agent(engine, limits=Limits(body_bytes=1000)).product()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400

    assert product.post("/v1/events", content=b" " * 1001).status_code == 413
    assert product.post("/v1/events", content=chunks()).status_code == 413
    assert product.post("/v1/events", content=b" " * 1000).status_code == 422


def test_a_stranger_may_send_hardly_anything(agent: Agent) -> None:
    for path in ("/session", "/", "/hello"):
        assert agent.caller().post(path, content=b" " * 4097).status_code == 413


def test_a_request_that_broke_off_is_not_carried_out(engine: Engine) -> None:
    agent = an_agent(engine)
    whole = {"type": "http", "method": "POST", "path": "/v1/participation/pause", "query_string": b""}
    headers = {"host": f"127.0.0.1:{PORT}", "authorization": f"Bearer {agent.token}", "content-length": "500"}
    headers["content-type"] = "application/json"
    scope: Scope = {**whole, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"hours": 24}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(agent.app(scope, receive, send))
    assert participation(engine.store).paused_until is None
    assert sent == []


@pytest.mark.parametrize("length", ["-1", "many", "\xb2", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(product: Caller, length: str) -> None:
    headers = {b"Content-Length": length.encode("latin-1")}
    assert product.post("/v1/events", headers=headers).status_code == 400


def test_too_many_requests_wait_while_others_are_served(engine: Engine) -> None:
    agent = an_agent(engine, limits=Limits(rate=0.01, burst=3))
    stranger = agent.caller()
    assert [stranger.get("/v1/settings").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert int(stranger.get("/v1/settings").headers["retry-after"]) >= 1
    product = agent.product()
    assert [product.get("/v1/settings").status_code for _ in range(4)] == [200, 200, 200, 429]
    # The owner's way in stays open while a stranger asks too often.
    assert [stranger.get("/").status_code for _ in range(5)] == [200] * 5


def test_every_answer_forbids_what_browsers_may_not_do(agent: Agent) -> None:
    for answer in (agent.caller().get("/"), agent.caller().get("/v1/x"), agent.product().get("/v1/settings")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_a_fault_inside_is_one_line_without_a_traceback(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        raise KeyError("a title that nobody may read")

    agent.app.add_api_route("/v1/failing", failing)
    answer = agent.product().get("/v1/failing")
    assert answer.status_code == 500
    assert list(answer.json()) == ["error"]
    output = "".join(capfd.readouterr())
    assert "KeyError" in output
    assert "title" not in answer.text + output


def test_the_token_has_256_bits_and_one_reader(tmp_path: Path) -> None:
    token = agent_token(tmp_path)
    assert len(token) == 43
    assert stat.S_IMODE((tmp_path / "agent.token").stat().st_mode) == 0o600
    assert running_token(tmp_path) == token


def test_each_run_has_a_token_of_its_own(tmp_path: Path) -> None:
    before = agent_token(tmp_path)
    assert agent_token(tmp_path) != before


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    agent_token(tmp_path)
    (tmp_path / "agent.token").chmod(0o640)
    with pytest.raises(VerificationError, match="can be read by others"):
        running_token(tmp_path)


def test_the_agent_proves_to_a_stranger_that_it_holds_the_token(agent: Agent) -> None:
    nonce = "n" * 43
    answer = agent.caller().get("/hello", params={"nonce": nonce})
    assert answer.json() == {"proof": proof(agent.token, port=PORT, nonce=nonce)}
    assert agent.token not in answer.text


@pytest.mark.parametrize("nonce", ["", "short", "n" * 129, "n" * 40 + " n", "\n" + "n" * 40])
def test_a_nonce_that_is_none_is_refused(agent: Agent, nonce: str) -> None:
    assert agent.caller().get("/hello", params={"nonce": nonce}).status_code == 422
    assert agent.caller().get("/hello").status_code == 422


def test_tickets_and_sessions_end() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    early, late = sessions.ticket(), sessions.ticket()
    session = sessions.enter(early)
    assert session is not None
    now[0] = 301.0
    assert sessions.enter(late) is None
    assert sessions.holder(session.cookie) is session
    now[0] = 13 * 3600.0
    assert sessions.holder(session.cookie) is None


def test_only_so_many_tickets_and_sessions_are_kept() -> None:
    sessions = Sessions()
    tickets = [sessions.ticket() for _ in range(40)]
    assert sessions.enter(tickets[0]) is None
    held = []
    for _ in range(40):
        session = sessions.enter(sessions.ticket())
        assert session is not None
        held.append(session.cookie)
    assert sessions.holder(held[0]) is None
    assert sessions.holder(held[-1]) is not None
