"""A Ray cluster of several nodes on this machine, for tests of what runs on more than one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.federation.superlinks import BIN, free_port, running

_ENVIRONMENT = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
# Ray tells over its state API only where a dashboard runs; its own library knows without one.
_ASK = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
from ray._private.state import state
actors = [actor["Address"]["NodeID"] for actor in state.actor_table(None, None, None).values()]
print(json.dumps({"nodes": [node["NodeID"] for node in ray.nodes() if node["Alive"]], "actors": actors}))
"""


@contextmanager
def ray_cluster(folder: Path, *, nodes: int) -> Iterator[str]:
    """A cluster of nodes with one processor each; yields its address. Nothing of it is left behind the block."""
    address = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        # In Ray's usual folder whoever starts Ray on this machine would find this cluster and join it.
        apart = stack.enter_context(TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        head = ("--head", "--port", address.rpartition(":")[2], "--temp-dir", apart, "--include-dashboard", "false")
        for number in range(nodes):
            place = ("--address", address) if number else head
            start = ("start", "--block", *place, "--num-cpus", "1", "--object-store-memory", "100000000")
            stack.enter_context(running([BIN / "ray", *start], _ENVIRONMENT, folder / f"ray-{number}.log"))
            _wait_for(address, nodes=number + 1)
        yield address


def told(address: str) -> dict[str, list[str]]:
    """The nodes that are alive, and the node of every actor that there was."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK, address], check=True, capture_output=True, env=_ENVIRONMENT
    )
    found: dict[str, list[str]] = json.loads(run.stdout)
    return found


def _wait_for(address: str, *, nodes: int) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 120:
        try:
            if len(told(address)["nodes"]) == nodes:
                return
        except subprocess.CalledProcessError:  # it does not listen yet
            time.sleep(0.5)
    raise AssertionError("The Ray cluster does not come up; see ray-0.log.")
