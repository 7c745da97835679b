"""`flwr run .` on a SuperLink in simulation mode does what `fedrec simulate` does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.data.synthetic import write_world
from fedrec.release import public_key, verify_release

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
USERS = 24

pytestmark = [pytest.mark.flower, pytest.mark.slow]


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A SuperLink of our own on a free port; yields the environment that `flwr` needs to find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "flwr"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "own"\n\n[superlink.own]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    log = (tmp_path / "superlink.log").open("w")
    process = subprocess.Popen(
        [
            BIN / "flower-superlink",
            *("--simulation", "--insecure", "--disable-runtime-dependency-installation"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield environment
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def test_flwr_run_trains_and_releases_what_simulate_does(superlink: dict[str, str], tmp_path: Path) -> None:
    write_world(tmp_path / "world", users=USERS, items=60, seed=3)
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        'name = "flower"\nseed = 5\n[adapter]\nranks = { history_proj = 8 }\n[federation]\nrounds = 3\ncohort = 6\n'
        '[evaluation]\nbaselines = ["popularity"]\n'
    )
    run = {"scenario": str(scenario), "data": str(tmp_path / "world"), "out": str(tmp_path / "under-flower")}
    subprocess.run(
        [
            *(BIN / "flwr", "run", ".", "own", "--stream"),
            *("--federation-config", f"num-supernodes={USERS}"),
            *("--run-config", " ".join(f'{key}="{value}"' for key, value in run.items())),
        ],
        cwd=REPOSITORY,
        env=superlink,
        check=True,
        timeout=400,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        [BIN / "fedrec", "simulate", scenario, "--data", run["data"], "--out", tmp_path / "in-process", "--json"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    flower, local = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("under-flower", "in-process")
    )
    assert flower["rounds"] == local["rounds"] == 3
    assert flower["adapter_norm"] == pytest.approx(local["adapter_norm"], rel=1e-4)
    assert flower["validation"]["mrr"]["value"] == pytest.approx(local["validation"]["mrr"]["value"], abs=0.02)
    (release,) = (path for path in (tmp_path / "under-flower/releases").iterdir() if path.name.startswith("00003"))
    verify_release(release, public_key(tmp_path / "under-flower/signing.pub"))


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise AssertionError("The SuperLink stopped at once; see superlink.log.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("The SuperLink does not listen.")
