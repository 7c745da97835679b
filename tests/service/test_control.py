"""The SuperLink of a service obeys the service, and nobody else on its machine."""

import http.client
import json
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flwr.proto.control_pb2 import ListRunsRequest
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from fedrec.errors import DataError
from fedrec.federation.control_secret import HEADER
from fedrec.service.config import NetworkConfig, load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service
from fedrec.service.superlink import connection, served_runs
from tests.federation.superlinks import BIN, free_port
from tests.service.superlinks import the_superlink

pytestmark = [pytest.mark.deploy, pytest.mark.slow, pytest.mark.timeout(300)]


def status_of(folder: ServiceFolder, path: str, headers: dict[str, str]) -> int:
    """What the SuperLink answers on loopback."""
    trusting = ssl.create_default_context(cafile=folder.ca_certificate)
    port = load_service(folder).network.fleet_port
    asking = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
    try:
        asking.request(
            "POST", path, ListRunsRequest().SerializeToString(), {"content-type": PROTOBUF_MEDIA_TYPE, **headers}
        )
        return asking.getresponse().status
    finally:
        asking.close()


def flowers_own_command(folder: ServiceFolder) -> str:
    """What somebody else on the machine hears, who knows where the SuperLink is."""
    home = folder.path.parent / "stranger"
    home.mkdir()
    (home / "config.toml").write_bytes((folder.flower_home / "config.toml").read_bytes())
    environment = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "PATH": str(BIN), "HOME": str(home)}
    command = [BIN / "flwr", "list", "service", "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    assert answer["success"] is False
    return str(answer["error-message"])


def test_who_is_on_the_machine_and_shows_no_secret_is_refused(tmp_path: Path) -> None:
    network = NetworkConfig(names=("localhost",), fleet_port=free_port())
    folder = make_service(tmp_path / "service", network=network, now=datetime.now(UTC))
    secret = folder.control_secret.read_text().strip()
    with the_superlink(folder, tmp_path / "superlink.log"):
        for path in ("list-runs", "start-run", "stop-run", "register-node"):
            assert status_of(folder, f"/v1/control/{path}", {}) == 403
            assert status_of(folder, f"/v1/control/{path}", {HEADER: "another"}) == 403
        assert status_of(folder, "/v1/control/list-runs", {HEADER: secret}) == 200
        for path in ("acquire-task", "get-nodes", "push-messages", "responses"):
            assert status_of(folder, f"/v1/runtime/{path}", {HEADER: secret}) in (401, 403), path
        assert "secret" in flowers_own_command(folder)
        assert connection(folder)[0].endswith(str(network.fleet_port))
        assert served_runs(folder) == []
        folder.control_secret.write_text("another\n")
        with pytest.raises(DataError, match="secret"):
            served_runs(folder)
    assert secret not in (tmp_path / "superlink.log").read_text()
