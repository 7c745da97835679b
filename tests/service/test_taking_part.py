"""A device enrolled by the commands answers a real SuperLink's messages; whoever is not enrolled is refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.enrolment import fingerprint, read_request
from fedrec.identities import read_directory
from fedrec.ondevice.enrolment import own_client, pin_directory
from fedrec.ondevice.participation import Conditions, opt_in
from fedrec.ondevice.releases import SIGNER, active, pin_signer
from fedrec.privacy.device_ledger import read_device_events
from fedrec.release import public_key
from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service
from fedrec.service.superlink import connection, flower_environment
from tests.federation.superlinks import BIN, free_port
from tests.private_devices import a_device, a_release, an_event
from tests.service.deployment import until
from tests.service.superlinks import a_superlink

pytestmark = [pytest.mark.deploy, pytest.mark.flower, pytest.mark.slow]

PROJECT = """[project]
name = "probe"
version = "0.1.0"
[tool.flwr.app]
publisher = "tests"
fab-include = ["server_app.py", "client_app.py"]
[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"
[tool.flwr.app.config]
device = ""
out = ""
"""
# What a server could ship to devices; this one leaves a trace wherever it is imported.
CLIENT_APP = """from pathlib import Path
from flwr.clientapp import ClientApp
Path({trace!r}).touch()
app = ClientApp()
"""
# One round's question, and one that no device has an answer to.
SERVER_APP = """import json, time
from pathlib import Path
import numpy as np
from flwr.app import Message
from flwr.serverapp import ServerApp
from fedrec.federation.messages import TRAIN, pack_instruction, unpack_reply
from fedrec.model.linear import released_layout
from fedrec.ondevice.participation import plan_of_release
from fedrec.ondevice.releases import active
from fedrec.training.client import Instruction

app = ServerApp()

@app.main()
def main(grid, context):
    manifest = active(Path(context.run_config["device"])).manifest
    layout = released_layout(manifest)
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.5)
    found = []
    for kind in (TRAIN, "evaluate.anything"):
        instruction = Instruction(
            run="run", round=1, token="token", adapter=np.zeros(layout.size, np.float32), layout=layout.hash,
            plan=plan_of_release(manifest), negatives_seed=0,
        )
        content = pack_instruction(instruction)
        for reply in grid.send_and_receive([Message(content, node, kind) for node in nodes], timeout=60):
            if reply.has_error():
                found.append({"error": reply.error.reason})
            else:
                got = unpack_reply(0, reply)
                found.append({"code": got.code, "norm": float(np.linalg.norm(got.update))})
    Path(context.run_config["out"]).write_text(json.dumps(found))
"""


def fedrec(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """What a command says."""
    done = subprocess.run([BIN / "fedrec", *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def a_willing_device(folder: Path) -> Path:
    """A device with a few events whose owner agreed."""
    device = a_device(folder, a_release(folder))
    with Store.open(device) as store:
        for number in range(6):
            store.add_event(an_event(number * 3, time=1_700_000_000 + number * 86_400))
        always = Conditions(idle=False, charging=False, unmetered=False)
        opt_in(store, active(device).manifest, now=0.0, conditions=always)
    return device


@contextmanager
def taking_part(device: Path, service: ServiceFolder, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`fedrec client run` until the end of the block, or until it is refused."""
    server, _ = connection(service)
    command = [BIN / "fedrec", "client", "run", device, "--server", server, "--ca", service.ca_certificate, "--json"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=device, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, 1)


def events_of(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def asked_in_a_run(folder: Path, service: ServiceFolder, device: Path) -> list[dict[str, object]]:
    """What came back of a run of an app whose client's part is hostile."""
    app, out = folder / "app", folder / "replies.json"
    app.mkdir()
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "client_app.py").write_text(CLIENT_APP.format(trace=str(folder / "ran")))
    (app / "server_app.py").write_text(SERVER_APP)
    settings = f'device="{device}" out="{out}"'
    flwr = (sys.executable, "-m", "fedrec.federation.control_command")
    command = [*flwr, "run", app, "service", "--run-config", settings, "--format", "json"]
    environment = os.environ | flower_environment(service)
    started = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(started.stdout)["success"], started.stdout
    # Where the app is built it is imported: on the server's side, where its author is at home.
    (folder / "ran").unlink(missing_ok=True)
    until(out.exists, within=120, what="the replies")
    return list(json.loads(out.read_text()))


def test_an_enrolled_device_answers_with_its_own_client_until_it_is_revoked(tmp_path: Path) -> None:
    network = NetworkConfig(names=("localhost",), fleet_port=free_port())
    service = make_service(tmp_path / "service", network=network, now=datetime.now(UTC))
    service.catalogue("films").path.mkdir()
    service.catalogue("films").scenario.touch()
    device = a_willing_device(tmp_path)
    request, log = tmp_path / "request.json", tmp_path / "device.log"
    server, authority = connection(service)
    said = fedrec("client", "enrol", device, "--out", request).stderr
    words = fingerprint(read_request(request.read_bytes()))
    assert words in said
    with a_superlink(service, tmp_path / "superlink.log"):
        run = ("client", "run", device, "--server", server, "--ca")
        assert "does not admit" in fedrec(*run, authority, code=1).stderr
        other = make_service(tmp_path / "other", network=network, now=datetime.now(UTC))
        assert "not vouched for" in fedrec(*run, other.ca_certificate, code=1).stderr

        assert (
            "not what that device wrote"
            in fedrec(
                "server", "enrol", service.path, request, "--words", "babad-babad-babad-babad-babad", code=1
            ).stderr
        )
        assert "Client 0" in fedrec("server", "enrol", service.path, request, "--words", words).stdout
        before = set(device.rglob("*"))
        with taking_part(device, service, log) as process:
            shipped, unheard = asked_in_a_run(tmp_path, service, device)
            assert shipped["code"] == ""
            assert 0 < float(str(shipped["norm"])) <= 0.5 * (1 + 1e-6)
            assert unheard == {"error": "ValueError"}
            assert not (tmp_path / "ran").exists()
            assert {path.name for path in set(device.rglob("*")) - before} <= {
                "store.db-wal",
                "store.db-shm",
                "fleet.lock",
                "ledger.lock",
            }
            answered = [event for event in events_of(log) if event["event"] == "answered"]
            assert len(answered) == 2

            # The SuperNode is killed and is there again: its server would hold it for connected for a minute.
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            until(lambda: [e["event"] for e in events_of(log)].count("connected") == 2, what="a new SuperNode")

            # New keys, in the name of the old: the same client, and the old ones are destroyed.
            fedrec("client", "enrol", device, "--rotate", "--out", request)
            assert "new keys" in fedrec("server", "enrol", service.path, request, "--yes").stdout
            until(lambda: [e["event"] for e in events_of(log)].count("connected") == 3, what="the new keys")
            require_known(device, service, tmp_path)

            fedrec("server", "revoke", service.path, 0)
            until(lambda: process.poll() is not None, what="the revoked device is refused")
            assert process.returncode == 1
        assert "does not admit" in fedrec(*run, authority, code=1).stderr
        listed = json.loads(fedrec("server", "nodes", service.path, "--json").stdout)["nodes"]
        assert [(node["client"], node["state"]) for node in listed] == [(0, "replaced"), (0, "revoked")]
    with Store.open(device) as store:
        assert [event["token"] for event in read_device_events(store)] == ["token"]


def require_known(device: Path, service: ServiceFolder, folder: Path) -> None:
    """The signed directory names this device as client 0, by its new identity key."""
    document = folder / "directory"
    fedrec("server", "directory", service.path, "--out", document)
    read_directory(document.read_bytes(), signer=public_key(service.signing_key.with_suffix(".pub")))
    (device / SIGNER).unlink()
    pin_signer(device, service.signing_key.with_suffix(".pub"))
    with Store.open(device) as store:
        pin_directory(store, document.read_bytes())
        assert own_client(store) == 0
