"""The benchmark of secure sums runs as it stands; bytes and bits do not depend on what else the machine does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(REPOSITORY)}


def printed(*arguments: object) -> Any:
    """What the benchmark prints as JSON."""
    command = [sys.executable, REPOSITORY / "simulations/bench/secagg.py", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout)


@pytest.mark.study
def test_the_benchmark_of_secure_sums_prints_what_it_promises() -> None:
    report = printed("--quick", "--json")
    assert set(report) == {"machine", "work", "results", "ratios"}
    results = report["results"]
    assert (results["clients"], results["parameters"]) == (200, 26_000)
    assert {"server_cpu_s", "client_cpu_ms", "secure", "plain", "flower", "grid"} <= set(results)
    assert 1 < report["ratios"]["traffic_vs_plain"] < 1.5
    assert all(16 <= row["bits_without_noise"] <= row["bits"] <= 32 for row in results["grid"])


def test_a_tiny_cohort_is_measured_at_every_stage() -> None:
    row = printed("--measure", "secure", "--of", 10, 50)
    assert (row["survivors"], row["neighbours"], row["threshold"]) == (9, 9, 8)
    stages = {"advertise", "share", "mask", "acknowledge", "reveal"}
    assert row["bytes_up_by_stage"].keys() == row["bytes_down_by_stage"].keys() == stages
    assert row["client_cpu_ms_by_stage"].keys() == {*stages, "encode"}
    assert row["server_cpu_s_by_stage"].keys() == {*stages, "unmask"}
    assert row["bytes_up"] > 50 * row["bits"] / 8
    assert printed("--measure", "plain", "--of", 10, 50)["bytes_up"] == 200


def test_flowers_secure_sum_of_a_tiny_cohort_is_the_survivors_mean() -> None:
    # The program ends with an error where the mean is another.
    row = printed("--measure", "flower", "--of", 10, 50)
    assert (row["shares"], row["threshold"]) == (10, 8)
    assert row["bytes_up_by_stage"]["collect_masked_vectors"] > 50 * 8
