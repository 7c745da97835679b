"""The server's benchmark runs as it stands; memory and imports do not depend on what else the machine does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.study
def test_the_server_benchmark_prints_what_it_promises() -> None:
    command = [sys.executable, REPOSITORY / "simulations/bench/server.py", "--json", "--quick"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout)
    assert set(report) == {"machine", "work", "results", "ratios"}
    assert (report["work"]["updates"], report["work"]["parameters"]) == (10_000, 26_000)
    promised = {"mean_us_per_update", "central_us_per_update", "copy_gb_per_s", "client_start_s", "rss_mib_10000"}
    assert promised <= set(report["results"])
    assert report["results"]["imports_torch"] is False
    assert report["ratios"]["aggregate_vs_copy"] > 0
    assert report["ratios"]["memory_of_ten_times_the_updates"] < 1.15


def test_the_client_of_a_device_starts_without_what_only_a_simulation_needs() -> None:
    heavy = ("torch", "polars", "scipy", "transformers", "dp_accounting")
    code = f"import client.app, sys; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
