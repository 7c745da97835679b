"""Print what a waiting device costs the service: the SuperLink's and the proxy's work per poll, and their memory.

A device that waits asks the SuperLink every three seconds, and signs each request. The work is processor time of
the programs themselves, so that other programs on the machine change it little.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedrec.federation.admission import admission
from fedrec.service.superlink import connection
from fedrec.service.telling import told
from fedrec.service.turns import is_served
from tests.service.deployment import CATALOGUE, Deployment, Plan, until

# How often a SuperNode asks while it waits.
_EVERY_SECONDS = 3.0
# Under the proxy's limit for one address, which all devices of this benchmark share.
_SPACING = 0.03
_IDLE_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer devices and polls")
    options = parser.parse_args()
    nodes, polls = (20, 200) if options.quick else (200, 2000)
    report = {
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "work": {"nodes": nodes, "polls": polls, "seconds_between_polls": _EVERY_SECONDS},
        "results": measured(nodes=nodes, polls=polls),
    }
    print(
        json.dumps(report, indent=2) if options.json else "\n".join(f"{k}: {v}" for k, v in report["results"].items())
    )


def measured(*, nodes: int, polls: int) -> dict[str, Any]:
    """Work per poll in milliseconds, memory in MiB, and how many devices one core of the SuperLink can keep waiting."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        deployment = Deployment(Path(scratch), Plan())
        deployment.prepare()
        folder = deployment.service
        stack.enter_context(deployment.serving())
        until(lambda: is_served(folder.catalogue(CATALOGUE)), what="the rounds wait for devices")
        superlink = _pid(folder.state, "superlink")
        proxy = _workers(int((folder.proxy / "nginx.pid").read_text()))
        address, authority = connection(folder)
        before = _memory(superlink)
        keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(nodes)]
        with admission(address, authority=authority, secret=folder.control_secret) as admitting:
            for key in keys:
                admitting.admit(public_key_to_bytes(key.public_key()))
        clients = [_client(stack, key, deployment.address, authority) for key in keys]
        ids = [_activate(client, key) for client, key in zip(clients, keys, strict=True)]
        idle = _idle(superlink)
        began, worked = time.monotonic(), (_work([superlink]), _work(proxy))
        for number in range(polls):
            chosen = number % nodes
            clients[chosen].PullMessages(PullMessagesRequest(node=Node(node_id=ids[chosen])))
            time.sleep(_SPACING)
        own = idle * (time.monotonic() - began)
        superlink_ms = 1000 * (_work([superlink]) - worked[0] - own) / polls
        proxy_ms = 1000 * (_work(proxy) - worked[1]) / polls
        programs = {each["name"]: _memory(each["pid"]) for each in told(folder.state)["programs"]}
        return {
            "superlink_ms_per_poll": round(superlink_ms, 2),
            "proxy_ms_per_poll": round(proxy_ms, 2),
            "devices_per_superlink_core": int(1000 / superlink_ms * _EVERY_SECONDS),
            "superlink_idle_share": round(idle, 4),
            "superlink_mib_before": before,
            "rss_mib": programs | {"proxy": sum(map(_memory, proxy))},
        }


def _client(stack: ExitStack, key: ec.EllipticCurvePrivateKey, address: str, authority: Path) -> FleetHttpClient:
    client = FleetHttpClient.from_server_address(
        address,
        insecure=False,
        root_certificates=authority.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor("SuperNode"), NodeAuthHttpInterceptor(key, key.public_key())],
    )
    stack.callback(client.close)
    return client


def _activate(client: FleetHttpClient, key: ec.EllipticCurvePrivateKey) -> int:
    time.sleep(_SPACING)
    request = ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=600.0)
    return int(client.ActivateNode(request).node_id)


def _idle(pid: int) -> float:
    """The share of a core that a program takes while no device asks."""
    before = _work([pid])
    time.sleep(_IDLE_SECONDS)
    return (_work([pid]) - before) / _IDLE_SECONDS


def _pid(state: Path, name: str) -> int:
    """The process of a program of the service; 0 while it does not run."""
    found = told(state).get("programs", [])
    return next((each["pid"] or 0 for each in found if each["name"] == name and each["state"] == "running"), 0)


def _workers(master: int) -> list[int]:
    children = (Path("/proc") / str(master) / "task" / str(master) / "children").read_text()
    return [master, *map(int, children.split())]


def _work(pids: list[int]) -> float:
    """Seconds of processor time that these processes have used."""
    fields = [(Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def _memory(pid: int) -> float:
    """MiB of memory that a process has resident."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main()
