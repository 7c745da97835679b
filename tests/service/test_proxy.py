"""The config of the proxy, tried in a real one: which of the service's addresses the world can reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedrec.service.rendering import proxy_program
from tests.installed import needs
from tests.service.doors import Door, door

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.slow,
    needs(Path(proxy_program()).exists(), "nginx"),
]

_MIB = 1 << 20
_OPEN = ("/v1/fleet/pull-messages", "/v1/fleet/activate-node", "/v1/releases/films/current", "/v1/releases/blobs/ab12")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("proxy") / "service") as opened:
        yield opened


def test_devices_reach_the_fleet_interface_of_the_superlink(proxy: Door) -> None:
    assert proxy.ask("/v1/fleet/pull-messages", method="POST", body=b"12345") == (200, "superlink 5")
    assert proxy.superlink.reached[-1] == "POST /v1/fleet/pull-messages"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_devices_fetch_releases(proxy: Door, method: str) -> None:
    status, _ = proxy.ask(f"/v1/releases/films/{'a' * 64}/manifest.json", method=method)
    assert status == 200
    assert proxy.front.reached[-1] == f"{method} /v1/releases/films/{'a' * 64}/manifest.json"


def test_a_part_of_a_download_can_be_asked_for(proxy: Door) -> None:
    proxy.ask("/v1/releases/blobs/ab12", headers='Range: bytes=5-\r\nIf-Range: "x"\r\nIf-None-Match: "y"\r\n')
    passed = proxy.front.headers[-1]
    assert (passed["range"], passed["if-range"], passed["if-none-match"]) == ("bytes=5-", '"x"', '"y"')


@pytest.mark.parametrize(
    "target",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/pull-task-input",
        "/v1/responses",
        "/console/",
        "/console/session",
        "/metrics",
        "/health",
        "/docs",
        "/openapi.json",
        "/",
        "/v1/",
        "/v1/fleet",
        "/v1/fleet/",
        "/v1/releases",
        "/v1/releases/",
        "/v1/fleets/pull-messages",
        "/v1/releasesx/films/current",
        # Ways of spelling another address so that the proxy and the program behind it may disagree.
        "/v1/fleet/../control/start-run",
        "/v1/fleet/..%2fcontrol/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/.%2e/control/start-run",
        "/v1/fleet/%252e%252e/control/start-run",
        "/v1/fleet/..;/control/start-run",
        "/v1/fleet/..\\control\\start-run",
        "/v1/fleet/./pull-messages",
        "/v1/fleet//control/start-run",
        "//v1/control/start-run",
        "//v1/fleet/pull-messages",
        "/v1//fleet/pull-messages",
        "/v1/fleet%2fpull-messages",
        "/v1%2ffleet/pull-messages",
        "/%76%31/fleet/pull-messages",
        "/V1/FLEET/pull-messages",
        "/v1/Fleet/pull-messages",
        "/v1/CONTROL/start-run",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages/../../control/start-run",
        "/v1/fleet/pull-messages?x=1",
        "/v1/fleet/pull-messages#x",
        "/v1/fleet/pull-messages%00",
        "/v1/fleet/pull-messages%0d%0aX:y",
        "/v1/fleet/pull\u00e9",
        "/v1/releases/../../console/",
        "/v1/releases/%2e%2e/%2e%2e/console/",
        "/v1/releases/..%2f..%2fconsole/",
        "/v1/releases//console",
        "/v1/releases/.hidden",
        "/v1/releases/films/current?x=/console/",
        "https://localhost/v1/control/start-run",
        "https://localhost//v1/control/start-run",
        "*",
        "v1/fleet/pull-messages",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_can_be_reached_however_it_is_spelt(proxy: Door, target: str, method: str) -> None:
    before = len(proxy.superlink.reached), len(proxy.front.reached)
    status, _ = proxy.ask(target, method=method, body=b"x" if method == "POST" else b"")
    assert status in (400, 404, 405)
    assert (len(proxy.superlink.reached), len(proxy.front.reached)) == before


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/fleet/pull-messages"),
        ("PUT", "/v1/fleet/pull-messages"),
        ("DELETE", "/v1/releases/films/current"),
        ("POST", "/v1/releases/films/current"),
        ("CONNECT", "localhost:22"),
        ("TRACE", "/v1/releases/films/current"),
        ("PROPFIND", "/v1/releases/films/current"),
    ],
)
def test_no_other_way_of_asking_is_passed_on(proxy: Door, method: str, target: str) -> None:
    before = len(proxy.superlink.reached), len(proxy.front.reached)
    status, _ = proxy.ask(target, method=method)
    assert status in (400, 404, 405)
    assert (len(proxy.superlink.reached), len(proxy.front.reached)) == before


_PIECES = st.sampled_from(
    ["/", "//", "v1", "fleet", "control", "runtime", "releases", "console", "metrics", "..", ".", "%2e", "%2f", "%5c",
     "\\", ";", "?", "#", "%00", "pull-messages", "V1", "a", "-", "%c0%af", "%"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=8).map("".join))
@example("v1/fleet/%2e%2e/control/start-run")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_reaches_a_program_is_what_it_was_meant_for(proxy: Door, spelt: str) -> None:
    """Whatever is spelt: who is behind the door sees its own addresses, letter by letter."""
    for behind in (proxy.superlink, proxy.front):
        behind.reached.clear()
    target = f"/{spelt}"
    for method in ("GET", "POST"):
        proxy.ask(target, method=method)
    assert all(line == f"POST {target}" for line in proxy.superlink.reached)
    assert all(line.startswith("POST /v1/fleet/") and ".." not in line for line in proxy.superlink.reached)
    assert all(line == f"GET {target}" for line in proxy.front.reached)
    assert all(line.startswith("GET /v1/releases/") and ".." not in line for line in proxy.front.reached)


def test_two_requests_in_one_are_not_smuggled(proxy: Door) -> None:
    before = len(proxy.superlink.reached)
    hidden = b"POST /v1/control/start-run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    outer = (
        b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    proxy.send(outer + hidden)
    assert not [line for line in proxy.superlink.reached[before:] if "control" in line]


def test_an_update_fits_and_what_is_far_larger_does_not(proxy: Door) -> None:
    assert proxy.ask("/v1/fleet/push-object", method="POST", body=b"x" * (6 * _MIB)) == (200, f"superlink {6 * _MIB}")
    before = len(proxy.superlink.reached)
    status, _ = proxy.ask("/v1/fleet/push-object", method="POST", body=b"x" * (9 * _MIB))
    assert status == 413
    assert len(proxy.superlink.reached) == before


@pytest.mark.parametrize("call", ["push-messages", "activate-node", "pull-messages", "get-fab"])
def test_what_the_superlink_would_unfold_before_it_knows_who_asks_is_small(proxy: Door, call: str) -> None:
    assert proxy.ask(f"/v1/fleet/{call}", method="POST", body=b"x" * (60 << 10))[0] == 200
    before = len(proxy.superlink.reached)
    status, _ = proxy.ask(f"/v1/fleet/{call}", method="POST", body=b"x" * (65 << 10))
    assert status == 413
    assert len(proxy.superlink.reached) == before


def test_who_asks_for_releases_sends_nothing(proxy: Door) -> None:
    before = len(proxy.front.reached)
    status, _ = proxy.ask("/v1/releases/films/current", body=b"x" * 2048)
    assert status == 413
    assert len(proxy.front.reached) == before


def test_no_address_of_a_device_is_passed_on_or_written_down(proxy: Door) -> None:
    proxy.ask("/v1/fleet/pull-messages", method="POST", headers="X-Forwarded-For: 198.51.100.7\r\n")
    assert "198.51.100.7" not in str(proxy.superlink.headers[-1])
    assert not {"x-forwarded-for", "x-real-ip", "forwarded"} & set(proxy.superlink.headers[-1])
    proxy.ask("/v1/control/start-run", method="POST")
    logs = [path for path in proxy.folder.path.rglob("*.log") if path.is_file()]
    assert all("127.0.0.1" not in path.read_text() for path in logs)


@pytest.mark.parametrize(
    ("target", "method", "requests", "most", "later"),
    [
        ("/v1/releases/films/current", "GET", 400, 200, 429),
        # What Flower's SuperNode waits after; a 429 would end it.
        ("/v1/fleet/pull-messages", "POST", 900, 400, 503),
    ],
)
def test_who_asks_too_often_is_told_so(
    tmp_path: Path, target: str, method: str, requests: int, most: int, later: int
) -> None:
    """With a proxy of its own: what it remembers would refuse other tests."""
    with door(tmp_path / "service") as own:
        answers = own.ask_often(target, method=method, times=requests)
    assert len(answers) == requests
    assert set(answers) == {200, later}
    assert answers.count(200) >= most


def test_a_superlink_with_a_foreign_certificate_is_not_spoken_to(tmp_path: Path) -> None:
    with door(tmp_path / "service", superlink_of=tmp_path / "foreign") as own:
        assert own.ask("/v1/fleet/pull-messages", method="POST")[0] == 502
        assert own.superlink.reached == []
