"""SuperLinks and SuperNodes of our own, on free ports, for tests that run Flower's processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent


@contextmanager
def superlink(folder: Path, *, simulation: bool) -> Iterator[tuple[dict[str, str], int]]:
    """A SuperLink; yields the environment that `flwr` needs to find it as `own`, and its port."""
    port = free_port()
    home = folder / "flwr"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "own"\n\n[superlink.own]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    # Unless a test names a cluster, Ray is started anew, whatever one was left on this machine.
    environment = (
        {"RAY_ADDRESS": "local"}
        | os.environ
        | {
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
    )
    command = ["--insecure", "--disable-runtime-dependency-installation", "--host", "127.0.0.1", "--port", str(port)]
    kind = ["--simulation"] if simulation else []
    with running([BIN / "flower-superlink", *kind, *command], environment, folder / "superlink.log") as process:
        _wait_for(port, process)
        yield environment, port


@contextmanager
def running(command: list[Path | str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and all that it starts, until the end of the block."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise AssertionError("The SuperLink stopped at once; see superlink.log.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("The SuperLink does not listen.")
