"""A deployed service whose rounds are sums under masks: two of its devices are killed between stages."""

import json
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.enrolment import own_client, pinned_directory
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.ledger import read_events
from tests.installed import needs
from tests.service.deployment import CATALOGUE, NGINX, Deployment, Plan, until

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.slow,
    needs(NGINX.exists(), "nginx"),
    pytest.mark.timeout(900),
]
DEVICES = 4
# A round's questions to a device: keys, shares, masked input, who is there, shares of the others.
SHARES, ACKNOWLEDGED = 2, 4


def events_of(log: Path, kind: str) -> list[dict[str, object]]:
    """What a device said of one kind."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [event for event in map(json.loads, filter(_is_event, lines)) if event["event"] == kind]


def _is_event(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


def answers(log: Path, count: int) -> bool:
    """Whether a device answered so many questions."""
    return len(events_of(log, "answered")) >= count


def supernode_of(process: subprocess.Popen[bytes]) -> int:
    """The SuperNode that a device started."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_devices_add_up_under_masks_though_one_is_killed_between_two_stages(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, Plan(devices=DEVICES, rounds=2, mode="distributed", timeout=30.0))
    deployment.prepare()
    logs = [tmp_path / f"device-{number}.log" for number in range(DEVICES)]
    with ExitStack() as stack:
        stack.enter_context(deployment.serving())
        with deployment.registry() as registry:
            until(lambda: registry.current(CATALOGUE) is not None, what="the first release is served")
        devices = [deployment.make_device(number) for number in range(DEVICES)]
        assert [deployment.enrol(device) for device in devices] == list(range(DEVICES))
        processes = [
            stack.enter_context(deployment.running(deployment.taking_part(device), log.name))
            for device, log in zip(devices, logs, strict=True)
        ]
        # Its masked input is there: the server asked on.
        until(lambda: answers(logs[2], ACKNOWLEDGED), what="client 2 told who is there")
        os.kill(supernode_of(processes[2]), signal.SIGKILL)
        until(lambda: len(deployment.rounds()) == 1, what="the first round")
        until(lambda: len(events_of(logs[2], "connected")) == 2, what="client 2 is there again")
        shared = len(events_of(logs[3], "answered")) + SHARES
        until(lambda: answers(logs[3], shared), what="client 3 shared its secrets")
        os.killpg(processes[3].pid, signal.SIGKILL)
        until(lambda: len(deployment.rounds()) == 2, what="the second round")
        assert deployment.json("client", "update", devices[0], *deployment.source)["round"] == 2
    first, second = deployment.rounds()
    assert first["replies"] == DEVICES
    assert second["replies"] == DEVICES - 1
    require_peers_pinned(devices)
    require_charged(deployment, devices)
    with Engine.open(devices[0]) as engine:
        assert engine.release.round == 2
        assert len(engine.recommend(5).items) == 5


def require_peers_pinned(devices: list[Path]) -> None:
    """Every device found out by itself who the others are."""
    for number, device in enumerate(devices):
        with Store.open(device) as store:
            directory = pinned_directory(store)
            assert directory is not None
            assert sorted(directory.entries) == list(range(len(devices)))
            assert own_client(store) == number


def require_charged(deployment: Deployment, devices: list[Path]) -> None:
    """What a device paid, its server charged it for; it charged nobody who had not been asked for a masked input."""
    events = read_events(deployment.service.catalogue(CATALOGUE).run / "ledger.jsonl")
    updates = [event for event in events if event["kind"] == "update"]
    assert len(updates) == 2
    for number, device in enumerate(devices):
        with Store.open(device) as store:
            paid = {event["token"] for event in read_device_events(store)}
        charged = {event["token"] for event in updates if number in event["participants"]}
        assert paid <= charged
        assert len(charged - paid) <= (number == DEVICES - 1)
