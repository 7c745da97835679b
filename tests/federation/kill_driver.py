"""Kills a run with SIGKILL at random moments, resumes it, and prints what is left as JSON.

A process of its own that loads everything once and forks each attempt, so that an attempt
costs what it trains and not what Python imports. Used by test_kill_and_resume.py.
"""

import json
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fedrec.config import Scenario
from fedrec.config_file import parse_scenario
from fedrec.data.synthetic import write_world
from fedrec.privacy.ledger import read_events
from fedrec.release import public_key, verify_release
from fedrec.simulation.run import Request, simulate
from fedrec.training.run_folder import client_folder
from tests.killing import attempt

CLIENTS = 12


def scenario() -> Scenario:
    """Seeded local privacy, so that an interrupted run can be held against an uninterrupted one."""
    return parse_scenario(
        {
            "name": "killed",
            "seed": 3,
            "data": {"users_per_client": 5},
            "adapter": {"ranks": {"history_proj": 4}},
            "training": {"steps": 2, "positions": 10},
            "federation": {"rounds": 6, "cohort": 6, "server_optimizer": "momentum", "release_every": 2},
            "privacy": {"mode": "local", "noise": "seeded", "noise_multiplier": 8.0, "participations": 60},
            "evaluation": {"baselines": [], "non_private_twin": False, "every": 3},
        }
    )


def work(data: Path, out: Path) -> None:
    """Start or resume the run, to its end.

    Only children touch the data: polars keeps a pool of threads, which a fork would break.
    """
    torch.set_num_threads(1)
    if not data.exists():
        write_world(data, users=CLIENTS * 5, items=50, seed=2)
    simulate(Request(scenario=scenario(), data=data, out=out, resume=True))


def remains(out: Path) -> dict[str, Any]:
    """What a finished run left: releases, the server's ledger, the clients' ledgers."""
    key = public_key(out / "signing.pub")
    folders = sorted(path for path in (out / "releases").iterdir() if not path.name.startswith("."))
    clients = {str(number): read_events(client_folder(out, number) / "ledger.jsonl") for number in range(CLIENTS)}
    return {
        "releases": {
            path.name: verify_release(path, key).files["adapter/adapter_model.safetensors"] for path in folders
        },
        "ledger": read_events(out / "ledger.jsonl"),
        "clients": clients,
        "rounds": len((out / "rounds.jsonl").read_text().splitlines()),
        "drafts": [path.name for path in (out / "releases").glob(".draft*")],
    }


def main(folder: Path, *, runs: int, kills: int, seed: int) -> None:
    """One uninterrupted run, then `runs` runs that are killed `kills` times each."""
    data = folder / "world"
    attempt(partial(work, data, folder / "warm"), kill_after=None)
    began = time.time()
    attempt(partial(work, data, folder / "whole"), kill_after=None)
    # The moments that matter: from the start of the rounds to the end of the last one.
    first = (folder / "whole" / "config.toml").stat().st_mtime - began
    last = (folder / "whole" / "rounds.jsonl").stat().st_mtime - began
    moments = random.Random(seed)  # noqa: S311  # moments to kill at, not secrets
    found = []
    for number in range(runs):
        out = folder / f"run-{number}"
        killed = 0
        while killed < kills:
            # A run that wins the race starts over elsewhere: only real kills count.
            if attempt(partial(work, data, out), kill_after=moments.uniform(0.8 * first, last)):
                out = folder / f"run-{number}-{killed}"
            else:
                killed += 1
        attempt(partial(work, data, out), kill_after=None)
        found.append(remains(out))
    print(json.dumps({"whole": remains(folder / "whole"), "killed": found, "kills": kills}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), runs=int(sys.argv[2]), kills=int(sys.argv[3]), seed=int(sys.argv[4]))
