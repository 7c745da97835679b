"""What `fedrec server init` writes for other programs is read by those programs."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.rendering import proxy_program
from fedrec.service.setup import make_service

ANALYZE, DOCKER, NGINX = shutil.which("systemd-analyze"), shutil.which("docker"), Path(proxy_program())


def has_compose() -> bool:
    """Whether docker is here with its plugin for compose files; it needs no daemon to read one."""
    asked = [DOCKER or "docker", "compose", "version"]
    return DOCKER is not None and subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServiceFolder:
    network = NetworkConfig(names=("localhost",))
    return make_service(tmp_path_factory.mktemp("made") / "service", network=network, now=datetime.now(UTC))


def said(*command: object) -> tuple[int, str]:
    """The code that a program exits with, and all that it says."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze")
def test_systemd_reads_the_units_without_a_word(made: ServiceFolder) -> None:
    units = sorted(made.deploy.glob("*.service"))
    assert len(units) == 2
    # It looks for the programs, too.
    here = units if NGINX.exists() else [unit for unit in units if "proxy" not in unit.name]
    assert said(ANALYZE, "verify", *here) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze")
def test_a_unit_with_a_wrong_word_would_be_told(made: ServiceFolder, tmp_path: Path) -> None:
    unit = tmp_path / "fedrec-server.service"
    unit.write_text((made.deploy / unit.name).read_text().replace("ProtectSystem=strict", "ProtectSytem=strict"))
    assert "ProtectSytem" in said(ANALYZE, "verify", unit)[1]


@pytest.mark.skipif(not NGINX.exists(), reason="no nginx")
def test_nginx_reads_the_config_of_the_proxy(made: ServiceFolder) -> None:
    code, words = said(NGINX, "-t", "-p", made.proxy, "-c", made.deploy / "nginx.conf")
    assert code == 0, words
    assert "[warn]" not in words


@pytest.mark.skipif(not has_compose(), reason="no docker with its compose plugin")
def test_compose_reads_the_compose_file(made: ServiceFolder) -> None:
    file = made.deploy / "compose.yaml"
    code, words = said(DOCKER, "compose", "-f", file, "--profile", "devices", "config", "--format", "json")
    assert code == 0, words
    services = json.loads(words[words.index("{") :])["services"]
    assert set(services) == {"database", "server", "proxy", "device-1", "device-2"}
