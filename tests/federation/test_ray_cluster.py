"""`flwr run .` on an existing Ray cluster of two nodes trains what a plain loop in one process trains."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedrec.data.synthetic import write_world
from tests.federation.ray_clusters import ray_cluster, told
from tests.federation.superlinks import BIN, superlink

REPOSITORY = Path(__file__).parents[2]
USERS = 24
SCENARIO = """
name = "cluster"
seed = 5
adapter.ranks = { history_proj = 8 }
federation = { rounds = 3, cohort = 6 }
privacy = { mode = "central", noise = "seeded" }
evaluation = { baselines = ["popularity"], non_private_twin = false }
"""

pytestmark = [pytest.mark.flower, pytest.mark.slow]


def test_clients_on_two_nodes_of_a_ray_cluster_train_what_a_loop_in_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path / "world", users=USERS, items=60, seed=3)
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO)
    run = {"scenario": str(scenario), "data": str(tmp_path / "world"), "out": str(tmp_path / "on-ray")}
    with ray_cluster(tmp_path, nodes=2) as address:
        # The runtime that the SuperLink starts finds the cluster by it.
        monkeypatch.setenv("RAY_ADDRESS", address)
        with superlink(tmp_path, simulation=True) as (environment, _):
            subprocess.run(
                [
                    *(BIN / "flwr", "run", ".", "own", "--stream"),
                    *("--federation-config", f"num-supernodes={USERS} client-resources-num-cpus=1"),
                    *("--run-config", " ".join(f'{key}="{value}"' for key, value in run.items())),
                ],
                cwd=REPOSITORY,
                env=environment,
                check=True,
                timeout=400,
                stdout=subprocess.DEVNULL,
            )
        found = told(address)
    assert len(set(found["nodes"])) == 2
    assert set(found["actors"]) == set(found["nodes"])
    plain = tmp_path / "loop"
    subprocess.run(
        [BIN / "fedrec", "simulate", scenario, "--data", run["data"], "--out", plain, "--engine", "reference"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ours, theirs = (load_file(folder / "state.safetensors")["adapter"] for folder in (tmp_path / "on-ray", plain))
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    epsilon, expected = (
        json.loads((folder / "result.json").read_text())["privacy"]["epsilon"]
        for folder in (tmp_path / "on-ray", plain)
    )
    assert epsilon == expected
