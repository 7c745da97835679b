"""A deployed service from nothing to a release on a device: TLS, enrolment, proxy, SuperNodes, central mode."""

import http.client
import ssl
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.ondevice.engine import Engine
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.ledger import read_events
from fedrec.service.config import NetworkConfig
from fedrec.service.setup import make_service
from tests.installed import needs
from tests.service.deployment import CATALOGUE, NGINX, Deployment, Plan, until

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.slow,
    needs(NGINX.exists(), "nginx"),
    pytest.mark.timeout(900),
]


def status_of(deployment: Deployment, method: str, path: str) -> int:
    """What the proxy answers from outside."""
    trusting = ssl.create_default_context(cafile=deployment.service.ca_certificate)
    connection = http.client.HTTPSConnection("localhost", deployment.public_port, timeout=10, context=trusting)
    try:
        connection.request(method, path, body=b"" if method == "POST" else None)
        return connection.getresponse().status
    finally:
        connection.close()


def foreign_authority(folder: Path) -> Path:
    """The certificate of somebody else's authority."""
    other = make_service(folder, network=NetworkConfig(names=("localhost",)), now=datetime.now(UTC))
    return other.ca_certificate


def test_devices_train_over_tls_behind_a_proxy_and_recommend_with_what_came_of_it(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, Plan(devices=5, rounds=3))
    deployment.prepare()
    with ExitStack() as stack:
        stack.enter_context(deployment.serving())
        with deployment.registry() as registry:
            until(lambda: registry.current(CATALOGUE) is not None, what="the first release is served")
        devices = [deployment.make_device(number) for number in range(5)]
        *enrolled, stranger = devices
        assert [deployment.enrol(device) for device in enrolled] == [0, 1, 2, 3]
        for number, device in enumerate(enrolled):
            stack.enter_context(deployment.running(deployment.taking_part(device), f"device-{number}.log"))
        until(lambda: len(deployment.rounds()) == 3, within=400, what="three rounds")
        deployment.fedrec("client", "enrol", stranger, "--out", tmp_path / "never-sent.json")
        assert "does not admit" in deployment.refusal(stranger)
        assert "not vouched for" in deployment.refusal(stranger, ca=foreign_authority(tmp_path / "other"))
        deployment.fedrec("server", "revoke", deployment.service.path, "3", "--catalogue", CATALOGUE, "--json")
        until(lambda: "error: " in (tmp_path / "device-3.log").read_text(), what="the revoked device is told")
        assert "does not admit" in deployment.refusal(enrolled[3])
        for path in (
            "/v1/control/list-runs",
            "/v1/runtime/get-nodes",
            "/v1/fleet/../control/x",
            "/console/",
            "/metrics",
        ):
            assert status_of(deployment, "POST", path) == 404
        assert deployment.json("client", "update", devices[0], *deployment.source)["round"] == 3
    require_paid_by_all(deployment, enrolled, rounds=3)
    with Store.open(stranger) as store:
        assert not read_device_events(store)
    with Engine.open(devices[0]) as engine:
        assert engine.release.round == 3
        assert len(engine.recommend(5).items) == 5


def require_paid_by_all(deployment: Deployment, devices: list[Path], *, rounds: int) -> None:
    """Every device took part in every round, and both sides say so."""
    events = read_events(deployment.service.catalogue(CATALOGUE).run / "ledger.jsonl")
    updates = [event for event in events if event["kind"] == "update"]
    everybody = [str(number) for number in range(len(devices))]
    assert [sorted(event["replies"]) for event in updates] == [everybody] * rounds
    for device in devices:
        with Store.open(device) as store:
            assert {event["token"] for event in read_device_events(store)} == {event["token"] for event in updates}
