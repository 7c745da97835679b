"""Who is let in to the console: whoever holds the operator token, or a link made with it, and nobody else."""

import pytest

from fedrec.console.app import create_console
from fedrec.console.tickets import metrics_token, new_ticket, operator_token
from fedrec.errors import DataError, VerificationError
from fedrec.service.config import NetworkConfig, ServiceConfig
from fedrec.web.access import SECRET_HEADER
from fedrec.web.proofs import proof
from tests.console.conftest import HOME, Operated
from tests.web.calling import Caller

READ = "/console/v1/overview"
ASKED = [READ, "/console/v1/catalogues/films", "/console/v1/live", "/console/openapi.json", "/console/none", "/other"]


@pytest.mark.parametrize("path", ASKED)
def test_a_stranger_is_refused(console: Operated, path: str) -> None:
    answer = console.caller().get(path)
    assert answer.status_code == 401
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/page/app.js", "/console/page/base.css"])
def test_the_page_itself_holds_nothing_and_is_anybodys(console: Operated, path: str) -> None:
    answer = console.caller().get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert operator_token(console.folder) not in answer.text


@pytest.mark.parametrize("given", ["Bearer no", "Bearer", "Basic {}", "Bearer {}x", "{}"])
def test_a_wrong_token_is_refused(console: Operated, given: str) -> None:
    header = given.format(operator_token(console.folder))
    assert console.caller(Authorization=header).get(READ).status_code == 401


def test_a_link_opens_the_console_once(console: Operated) -> None:
    ticket = console.ticket()
    entered = console.caller().post("/console/session", json={"ticket": ticket})
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie
    assert console.caller().post("/console/session", json={"ticket": ticket}).status_code == 401


def test_a_cookie_got_over_tls_travels_over_nothing_else(console: Operated) -> None:
    headers = {"Origin": "https://127.0.0.1:9480"}
    entered = console.caller(**headers).post("/console/session", json={"ticket": console.ticket()})
    assert "Secure" in entered.headers["set-cookie"]


def test_the_operator_token_opens_the_console_too(console: Operated) -> None:
    page = console.caller()
    entered = page.post("/console/session", json={"token": operator_token(console.folder)})
    assert entered.status_code == 200
    assert page.get(READ, headers={SECRET_HEADER: entered.json()["secret"]}).status_code == 200


@pytest.mark.parametrize("entry", [{}, {"ticket": "x", "token": "y"}, {"ticket": ""}, {"ticket": 5}, {"other": "x"}])
def test_an_entry_that_is_none_is_refused(console: Operated, entry: dict[str, object]) -> None:
    assert console.caller().post("/console/session", json=entry).status_code == 422


@pytest.mark.parametrize(
    "ticket", ["x", "1.2.3", "1780000000000.n.", "\ud800".encode("utf-8", "replace").decode(), "9" * 200]
)
def test_a_ticket_that_nobody_made_opens_nothing(console: Operated, ticket: str) -> None:
    assert console.caller().post("/console/session", json={"ticket": ticket}).status_code == 401
    assert console.caller().post("/console/session", json={"token": ticket}).status_code == 401


def test_tickets_end_after_five_minutes_and_with_a_restart(console: Operated) -> None:
    late = console.ticket()
    token = operator_token(console.folder)
    console.clock[0] += 301
    assert console.caller().post("/console/session", json={"ticket": late}).status_code == 401
    before = new_ticket(token, now=console.clock[0] - 302)
    future = new_ticket(token, now=console.clock[0] + 3600)
    for ticket in (before, future):
        assert console.caller().post("/console/session", json={"ticket": ticket}).status_code == 401


@pytest.mark.parametrize("action", ["pause", "resume", "stop", "promote", "rollback"])
def test_a_cookie_without_the_secret_does_nothing(console: Operated, action: str) -> None:
    console.shop()
    page = console.page()
    secret = page.headers.pop(SECRET_HEADER)
    path = f"/console/v1/catalogues/films/{action}"
    assert page.post(path, json={"reason": "a good one"}).status_code == 403
    assert page.post(path, json={"reason": "a good one"}, headers={SECRET_HEADER: f"{secret}x"}).status_code == 403
    assert page.get(READ).status_code == 403


def test_signing_out_ends_the_session_in_every_tab(console: Operated) -> None:
    page = console.page()
    again = Caller(console.app, dict(page.headers), home=HOME, cookies=page.cookies)
    assert page.post("/console/v1/leave").status_code == 200
    assert again.get(READ).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9480", "127.0.0.1.evil", "localhost.evil:9480", ""])
def test_a_foreign_host_is_refused_even_with_the_token(console: Operated, host: str) -> None:
    for path in (READ, "/console/", "/metrics"):
        assert console.script().get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:9480", "127.0.0.1:18000", "[::1]:9480", "LOCALHOST"])
def test_a_tunnel_may_have_any_port(console: Operated, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    assert console.script().get(READ, headers=headers).status_code == 200


def test_a_name_of_the_service_is_its_own(console: Operated) -> None:
    config = ServiceConfig(network=NetworkConfig(names=("Ops.Example.org",)))
    app = create_console(console.folder, config=config, registry=console.registry)
    script = Caller(app, dict(console.script().headers), home=HOME)
    assert script.get(READ, headers={"Host": "ops.example.org"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:9480"])
def test_a_page_of_another_origin_is_refused_even_with_the_token(console: Operated, origin: str) -> None:
    assert console.script().get(READ, headers={"Origin": origin}).status_code == 403


def test_a_link_from_elsewhere_may_open_the_page_and_nothing_else(console: Operated) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert console.caller().get("/console/", headers=headers).status_code == 200
    assert console.script().get(READ, headers=headers).status_code == 403
    assert console.script().get("/metrics", headers=headers).status_code == 403


def test_metrics_need_no_token_on_the_machine_itself_only(console: Operated) -> None:
    assert console.caller().get("/metrics").status_code == 200
    far = console.caller()
    far.peer = "10.0.0.7"
    assert far.get("/metrics").status_code == 401
    assert console.caller(**{"X-Forwarded-For": "10.0.0.7"}).get("/metrics").status_code == 401


def test_the_metrics_token_reads_the_metrics_and_nothing_else(console: Operated) -> None:
    token = metrics_token(operator_token(console.folder))
    reader = console.caller(Authorization=f"Bearer {token}")
    reader.peer = "10.0.0.7"
    assert reader.get("/metrics").status_code == 200
    assert reader.get(READ).status_code == 401


def test_the_console_proves_to_hold_the_token(console: Operated) -> None:
    nonce = "n" * 43
    answer = console.caller().get("/console/hello", params={"nonce": nonce})
    assert answer.json() == {"proof": proof(operator_token(console.folder), port=9480, nonce=nonce)}


def test_a_token_that_others_can_read_starts_no_console(console: Operated) -> None:
    console.folder.operator_token.chmod(0o640)
    with pytest.raises(VerificationError, match="can be read by others"):
        create_console(console.folder, config=ServiceConfig(), registry=console.registry)


@pytest.mark.parametrize("content", ["", "short\n"])
def test_a_token_that_is_none_starts_no_console(console: Operated, content: str) -> None:
    console.folder.operator_token.write_text(content)
    with pytest.raises(VerificationError, match="holds no token"):
        create_console(console.folder, config=ServiceConfig(), registry=console.registry)


def test_a_registry_that_does_not_answer_is_said_as_such(console: Operated) -> None:
    def failing() -> None:
        raise DataError("The registry does not answer.")

    console.app.add_api_route("/console/v1/failing", failing)
    answer = console.script().get("/console/v1/failing")
    assert (answer.status_code, answer.json()["error"]) == (503, "The registry does not answer.")
    assert answer.headers["retry-after"]


def test_a_fault_inside_is_one_line_without_a_traceback(console: Operated, capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        raise KeyError("a number that nobody may read")

    console.app.add_api_route("/console/v1/failing", failing)
    answer = console.script().get("/console/v1/failing")
    output = "".join(capfd.readouterr())
    assert answer.status_code == 500
    assert output.startswith("console: KeyError at ")
    assert "number" not in answer.text + output
