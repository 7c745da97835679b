import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedrec.service import checks
from fedrec.service.checks import Finding, check
from fedrec.service.config import NetworkConfig, load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service
from tests.service.doors import free_ports

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    public, fleet, front = free_ports(3)
    network = NetworkConfig(names=("recommend.example",), public_port=public, fleet_port=fleet, front_port=front)
    return make_service(tmp_path / "service", network=network, now=NOW)


def _bad(folder: ServiceFolder, *, now: datetime = NOW) -> list[Finding]:
    return [finding for finding in check(folder, now=now) if finding.verdict == "bad"]


def test_a_new_service_has_nothing_that_is_bad(folder: ServiceFolder) -> None:
    found = check(folder, now=NOW)
    assert [finding for finding in found if finding.verdict == "bad"] == []
    assert {finding.about for finding in found} >= {
        "permissions", "certificates", "room", "ports", "versions", "registry", "catalogues",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["keys/signing.key", "keys/operator.token", "keys/ca.key", "superlink.db"])
def test_a_key_that_others_can_read_is_bad(folder: ServiceFolder, name: str) -> None:
    (folder.path / name).chmod(0o640)
    (found,) = _bad(folder)
    assert found.about == "permissions"
    assert name in found.says


@pytest.mark.parametrize("name", ["signing.key", "operator.token", "superexec.secret", "control.secret", "server.key"])
def test_a_key_that_is_gone_is_bad(folder: ServiceFolder, name: str) -> None:
    (folder.keys / name).unlink()
    assert [finding for finding in _bad(folder) if name in finding.says]
    assert not (folder.keys / name).exists()


def test_a_signing_key_of_another_service_is_bad(folder: ServiceFolder, tmp_path: Path) -> None:
    other = make_service(tmp_path / "other", network=NetworkConfig(), now=NOW)
    folder.signing_key.write_bytes(other.signing_key.read_bytes())
    (found,) = _bad(folder)
    assert "devices trust another signer" in found.says


@pytest.mark.parametrize(("days", "verdict"), [(300, "good"), (380, "look"), (400, "bad")])
def test_a_certificate_that_ends_is_said_before_it_does(folder: ServiceFolder, days: int, verdict: str) -> None:
    found = check(folder, now=NOW + timedelta(days=days))
    (about,) = [finding for finding in found if finding.says.startswith("server.crt has")]
    assert about.verdict == verdict


def test_a_certificate_of_another_key_is_bad(folder: ServiceFolder, tmp_path: Path) -> None:
    other = make_service(tmp_path / "other", network=NetworkConfig(), now=NOW)
    folder.server_key.write_bytes(other.server_key.read_bytes())
    assert [finding for finding in _bad(folder) if "is not of" in finding.says]


def test_a_port_that_another_program_has_is_bad(folder: ServiceFolder) -> None:
    port = load_service(folder).network.front_port
    with socket.create_server(("127.0.0.1", port)):
        (found,) = _bad(folder)
    assert (found.about, str(port) in found.says) == ("ports", True)


@pytest.mark.parametrize(("limit", "verdict"), [("_ROOM_BAD", "bad"), ("_ROOM_LOOK", "look")])
def test_a_disk_that_is_nearly_full_is_said(
    folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch, limit: str, verdict: str
) -> None:
    monkeypatch.setattr(checks, limit, 1 << 60)
    (room,) = [finding for finding in check(folder, now=NOW) if finding.about == "room"]
    assert room.verdict == verdict


def test_a_registry_that_cannot_be_reached_is_bad(folder: ServiceFolder) -> None:
    folder.config.write_text(folder.config.read_text().replace('database = ""', 'database = "sqlite:////nowhere/r.db"'))
    (found,) = _bad(folder)
    assert found.about == "registry"


def test_a_catalogue_whose_scenario_is_wrong_is_bad(folder: ServiceFolder) -> None:
    catalogue = folder.catalogue("films")
    catalogue.path.mkdir()
    catalogue.scenario.write_text("[federation]\nround = 3\n")
    (found,) = _bad(folder)
    assert found.says.startswith("films: Unknown setting `federation.round`")
