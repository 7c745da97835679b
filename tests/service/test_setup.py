import getpass
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from fedrec.errors import ConfigError, DataError
from fedrec.release import public_key, signing_key
from fedrec.service.certificates import days_left, make_certificates, read_certificate
from fedrec.service.config import NetworkConfig, ServiceConfig, load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import Brought, make_service, renew, replace_authority

NOW = datetime.now(UTC)
NETWORK = NetworkConfig(names=("recommend.example",), public_port=8443, fleet_port=9543, front_port=9580)


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return make_service(tmp_path / "service", network=NETWORK, now=NOW)


def test_nobody_else_can_read_a_service_and_least_of_all_its_keys(folder: ServiceFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    for path in folder.keys.iterdir():
        expected = 0o644 if path.suffix in (".crt", ".pub") else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path.name
    assert folder.keys.stat().st_mode & 0o777 == 0o700
    assert folder.superlink_database.stat().st_mode & 0o777 == 0o600


def test_modes_do_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_service(tmp_path / "service", network=NETWORK, now=NOW)
    finally:
        os.umask(before)
    assert [path for path in folder.path.rglob("*") if path.stat().st_mode & 0o022] == []


def test_every_setting_stands_in_the_file_with_its_default(folder: ServiceFolder) -> None:
    assert load_service(folder) == ServiceConfig(network=NETWORK)
    written = tomllib.loads(folder.config.read_text())
    for concern in fields(ServiceConfig):
        value = getattr(ServiceConfig(), concern.name)
        if is_dataclass(value):
            assert set(written[concern.name]) == {setting.name for setting in fields(value)}, concern.name
        else:
            assert concern.name in written


def test_the_secrets_of_two_services_differ(folder: ServiceFolder, tmp_path: Path) -> None:
    other = make_service(tmp_path / "other", network=NETWORK, now=NOW)
    for name in (
        "ca.key",
        "server.key",
        "signing.key",
        "operator.token",
        "superexec.secret",
        "control.secret",
        "database.password",
    ):
        assert (folder.keys / name).read_bytes() != (other.keys / name).read_bytes(), name


def test_the_public_half_of_the_signing_key_lies_beside_it(folder: ServiceFolder) -> None:
    public = public_key(folder.keys / "signing.pub")
    assert public.public_bytes_raw() == signing_key(folder.signing_key).public_key().public_bytes_raw()


def test_a_service_is_not_made_over_something_else(folder: ServiceFolder) -> None:
    before = folder.ca_certificate.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        make_service(folder.path, network=NETWORK, now=NOW)
    assert folder.ca_certificate.read_bytes() == before


def test_an_empty_folder_becomes_a_service(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    assert load_service(make_service(tmp_path / "service", network=NETWORK, now=NOW)).network == NETWORK


def test_a_service_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a host nor an address"):
        make_service(tmp_path / "service", network=NetworkConfig(names=("no host",)), now=NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a service", "a;b", "a$b", "a@b", "a'b"])
def test_a_path_that_other_programs_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="plain path"):
        make_service(tmp_path / name, network=NETWORK, now=NOW)


def test_what_is_rendered_names_the_place_where_the_service_lies(folder: ServiceFolder, tmp_path: Path) -> None:
    texts = [path.read_text() for place in (folder.app, folder.deploy, folder.flower_home) for path in place.iterdir()]
    assert not [text for text in texts if re.search(rf"{tmp_path}/\.", text)]
    assert not [text for text in texts if "@{" in text]


def test_flower_finds_the_superlink_on_loopback_under_the_services_authority(folder: ServiceFolder) -> None:
    config = tomllib.loads((folder.flower_home / "config.toml").read_text())["superlink"]
    assert config["default"] == "service"
    assert config["service"] == {"address": "127.0.0.1:9543", "root-certificates": str(folder.ca_certificate)}


def test_the_compose_file_has_the_parts_of_a_deployment(folder: ServiceFolder) -> None:
    compose = yaml.safe_load((folder.deploy / "compose.yaml").read_text())
    assert set(compose["services"]) == {"database", "server", "proxy", "device-1", "device-2"}
    assert compose["services"]["proxy"]["network_mode"] == "service:server"
    published = {port for service in compose["services"].values() for port in service.get("ports", ())}
    assert published == {"8443:8443"}
    assert Path(compose["secrets"]["database"]["file"]).read_text() in (folder.keys / "database.pgpass").read_text()


def test_the_units_start_the_programs_of_this_installation(folder: ServiceFolder) -> None:
    unit = (folder.deploy / "fedrec-server.service").read_text()
    assert f"ExecStart={Path(sys.executable).with_name('fedrec')} server run {folder.path}\n" in unit
    assert f"User={getpass.getuser()}\n" in unit
    assert str(folder.deploy / "nginx.conf") in (folder.deploy / "fedrec-proxy.service").read_text()


def test_the_flower_app_is_a_few_kilobytes_and_names_no_file_of_the_service(folder: ServiceFolder) -> None:
    (folder.app / "events.json").write_text(json.dumps({"user": "somebody"}))
    environment = {**os.environ, "FLWR_HOME": str(folder.flower_home)}
    flwr = Path(sys.executable).with_name("flwr")
    built = subprocess.run(
        [flwr, "build", "--app", str(folder.app)], cwd=folder.logs, env=environment, capture_output=True, check=True
    )
    bundles = list(folder.logs.glob("*.fab"))
    assert len(bundles) == 1, built.stdout
    content = bundles[0].read_bytes()
    assert len(content) < 8_000
    assert b"events.json" not in content


def test_a_renewal_lasts_a_year_and_the_proxy_shows_the_same_file(folder: ServiceFolder) -> None:
    proxy = (folder.deploy / "nginx.conf").read_text()
    before = read_certificate(folder.server_certificate).serial_number
    renew(folder, now=NOW)
    assert read_certificate(folder.server_certificate).serial_number != before
    assert days_left(folder.server_certificate, now=NOW) > 390
    assert (folder.deploy / "nginx.conf").read_text() == proxy


def test_a_certificate_that_is_brought_is_what_the_proxy_shows(tmp_path: Path) -> None:
    bringer = ServiceFolder(tmp_path / "bringer")
    make_certificates(bringer, names=["recommend.example"], now=NOW)
    brought = Brought(bringer.server_certificate, bringer.server_key)
    folder = make_service(tmp_path / "service", network=NETWORK, now=NOW, brought=brought)
    proxy = (folder.deploy / "nginx.conf").read_text()
    assert f"ssl_certificate {folder.public_certificate};" in proxy
    assert f"ssl_certificate_key {folder.public_key};" in proxy
    assert folder.public_certificate.read_bytes() == bringer.server_certificate.read_bytes()


def test_a_certificate_can_be_brought_later(folder: ServiceFolder, tmp_path: Path) -> None:
    bringer = ServiceFolder(tmp_path / "bringer")
    make_certificates(bringer, names=["recommend.example"], now=NOW)
    renew(folder, now=NOW, brought=Brought(bringer.server_certificate, bringer.server_key))
    assert f"ssl_certificate {folder.public_certificate};" in (folder.deploy / "nginx.conf").read_text()


def test_another_authority_is_made_only_once_the_old_one_was_put_away(folder: ServiceFolder) -> None:
    with pytest.raises(DataError, match="devices trust it"):
        replace_authority(folder, now=NOW)
    old = folder.ca_certificate.read_bytes()
    for path in (folder.ca_certificate, folder.ca_key, folder.server_certificate, folder.server_key):
        path.unlink()
    folder.config.write_text(folder.config.read_text().replace('"recommend.example"', '"new.example"'))
    replace_authority(folder, now=NOW)
    assert folder.ca_certificate.read_bytes() != old
    assert "new.example" in str(read_certificate(folder.server_certificate).subject)
