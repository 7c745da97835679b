"""The benchmark of engines runs as it stands, and its engines add up to the same; how fast is nobody's promise here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
BENCH = REPOSITORY / "simulations/bench"
ENVIRONMENT = os.environ | {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{BENCH}",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def answers(worker: str, world: Path, *asked: dict[str, Any]) -> list[Any]:
    """What one of the benchmark's processes says to each line."""
    command = [sys.executable, BENCH / "engines.py", "--worker", worker, world]
    lines = "".join(json.dumps(each) + "\n" for each in asked)
    run = subprocess.run(command, input=lines, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.slow
def test_the_cohort_engine_and_the_bare_model_add_up_to_the_references_sum(tmp_path: Path) -> None:
    world = tmp_path / "world.npz"
    answers("world", world)
    for engine in ("reference", "cohort", "bare"):
        turn = {"kind": "light", "number": 1, "save": str(tmp_path / f"{engine}.npy")}
        assert len(answers(engine, world, turn)) == 2
    sys.path.insert(0, str(BENCH))
    try:
        from engines_model import KINDS, Problem, Tower, adapter_of, local_update, negatives_of
    finally:
        sys.path.remove(str(BENCH))
    problem = Problem.load(world)
    tower = Tower(problem.vectors)
    tower.start(adapter_of(1), negatives_of(1, KINDS["light"]))
    bare = sum(local_update(tower, data).astype(np.float64) for data in problem.clients["light"])
    expected = np.load(tmp_path / "reference.npy")
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(bare, expected, rtol=0, atol=1e-6)
    for engine in ("cohort", "bare"):
        np.testing.assert_allclose(np.load(tmp_path / f"{engine}.npy"), expected, rtol=0, atol=1e-6)


@pytest.mark.study
def test_the_benchmark_of_engines_prints_what_it_promises() -> None:
    command = [sys.executable, BENCH / "engines.py", "--quick", "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout)
    assert set(report) == {"machine", "work", "results", "ratios"}
    results, ratios = report["results"], report["ratios"]
    tried = {"cohort", "bare", "reference", "flower_ray"} | ({"pfl"} - results["left_out"].keys())
    assert results["clients_per_s"].keys() == tried
    assert all(rates.keys() == {"light", "heavy"} for rates in results["clients_per_s"].values())
    assert results["max_difference"] < 1e-5
    assert {"cohort_vs_ray_light", "cohort_vs_reference_light", "light_share_of_limit", "heavy_share_of_limit"} <= set(
        ratios
    )
    assert ("cohort_vs_pfl_light" in ratios) == ("pfl" in tried)
