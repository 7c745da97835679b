"""The device's benchmarks run as they stand; the replay on real data says what it is quoted for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_data import latest_small

BENCH = Path(__file__).parents[2] / "simulations" / "bench"


def printed(script: str, *arguments: str) -> dict:
    """The JSON object of a benchmark."""
    command = [sys.executable, BENCH / script, *arguments, "--json"]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


@pytest.mark.study
def test_the_device_benchmark_prints_what_it_promises() -> None:
    report = printed("device.py", "--quick")
    results = report["results"]
    promised = ("p50_ms_10k", "p99_ms_10k", "p99_ms_100k", "rss_mib_10k", "start_s", "imports_torch")
    assert all(name in results for name in promised)
    assert results["imports_torch"] is False
    # Memory is no time: it does not depend on what else the machine does.
    assert results["rss_mib_10k"] < 100
    assert results["rss_mib_10k_with_encoder"] < 200


@pytest.mark.study
@pytest.mark.timeout(3000)
def test_live_history_beats_a_frozen_one_on_real_data() -> None:
    report = printed("replay.py", str(latest_small()))
    assert report["work"]["people"] > 600
    assert report["results"]["live_minus_frozen"]["low"] > 0
