"""Kills a central server with SIGKILL at random moments of its writing, and prints what each kill left, as JSON.

Loads once and forks every attempt. Clients are toys; ledger, seal, noise state and releases are real.
"""

import json
import random
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fedrec.files import write_atomically
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.plan import PopularityRelease
from fedrec.privacy.seal import sealed_head
from fedrec.release import public_key
from fedrec.training.aggregation import ServerState
from tests.killing import attempt
from tests.training.central_worlds import PLAN, Crowd, a_recipe, run, some_hooks

ROUNDS = 8
RECIPE = a_recipe(
    replace(PLAN, popularity=PopularityRelease(items=1, noise_multiplier=1.0), metrics_noise=4.0),
    rounds=ROUNDS,
    release_every=1,
)


def serve(path: Path) -> None:
    """Start the run, or go on with it, to its end."""
    run(path, Crowd(6), RECIPE, some_hooks(publish=lambda state, head: publish(path, state, head)))


def publish(path: Path, state: ServerState, head: str) -> None:
    """A release that says what the ledger had said when it was made; another one of the same round is another file."""
    content = {"round": state.round, "head": head, "adapter": state.adapter.tobytes().hex()}
    name = f"{state.round:03d}-{abs(hash(content['adapter']))}.json"
    write_atomically(path / "run" / "releases" / name, json.dumps(content).encode())


def faults(path: Path) -> list[str]:
    """What is wrong with a run folder as a kill left it: nothing, one hopes."""
    folder = path / "run"
    ledger = folder / "ledger.jsonl"
    if not ledger.exists():
        return []
    with Ledger(ledger) as opened:  # verifies the chain, and cuts a torn end off as the next start would
        heads, events = opened.hashes, opened.entries
    paid = {event["round"] for event in events if event["kind"] == "update"}
    found: list[str] = []
    rounds: dict[int, str] = {}
    for file in sorted((folder / "releases").glob("[0-9]*.json")):
        release: dict[str, Any] = json.loads(file.read_text())
        if (release["round"] and release["round"] not in paid) or release["head"] not in heads:
            found.append(f"release of round {release['round']} without its entry")
        if rounds.setdefault(release["round"], release["adapter"]) != release["adapter"]:
            found.append(f"two releases of round {release['round']}")
    if (folder / "signing.pub").exists() and (
        sealed_head(folder / "ledger.seal", public_key(folder / "signing.pub")) or next(iter(heads))
    ) not in heads:
        found.append("a seal of what the ledger lacks")
    return found


def main(folder: Path, *, kills: int, seed: int) -> None:
    """One whole run to learn how long it takes, then kills until there were enough."""
    began = time.monotonic()
    attempt(partial(serve, folder / "whole"), kill_after=None)
    usual = time.monotonic() - began
    moments = random.Random(seed)  # noqa: S311  # moments to kill at, not secrets
    found, killed, runs, resumed, wasted = [], 0, 0, 0, 0
    while killed < kills:
        path = folder / f"run-{runs}"
        resumed += (path / "run" / "ledger.jsonl").exists()
        if attempt(partial(serve, path), kill_after=moments.uniform(0.0, 0.5 * usual)):
            events = read_events(path / "run" / "ledger.jsonl")
            wasted += sum(event["kind"] == "update" for event in events) - ROUNDS
            runs += 1
        else:
            killed += 1
        found += faults(path)
    print(json.dumps({"kills": killed, "runs": runs, "resumed": resumed, "paid_again": wasted, "faults": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), kills=int(sys.argv[2]), seed=int(sys.argv[3]))
