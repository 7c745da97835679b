"""`flwr run .` on a SuperLink in simulation mode does what `fedrec simulate` does."""

import json
import subprocess
from pathlib import Path

import pytest

from fedrec.data.synthetic import write_world
from fedrec.release import public_key, verify_release
from tests.federation.superlinks import BIN, superlink

REPOSITORY = Path(__file__).parents[2]
USERS = 24

pytestmark = [pytest.mark.flower, pytest.mark.slow]


def test_flwr_run_trains_and_releases_what_simulate_does(tmp_path: Path) -> None:
    write_world(tmp_path / "world", users=USERS, items=60, seed=3)
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        'name = "flower"\nseed = 5\n[adapter]\nranks = { history_proj = 8 }\n[federation]\nrounds = 3\ncohort = 6\n'
        '[evaluation]\nbaselines = ["popularity"]\n'
    )
    run = {"scenario": str(scenario), "data": str(tmp_path / "world"), "out": str(tmp_path / "under-flower")}
    with superlink(tmp_path, simulation=True) as (environment, _):
        subprocess.run(
            [
                *(BIN / "flwr", "run", ".", "own", "--stream"),
                *("--federation-config", f"num-supernodes={USERS}"),
                *("--run-config", " ".join(f'{key}="{value}"' for key, value in run.items())),
            ],
            cwd=REPOSITORY,
            env=environment,
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
