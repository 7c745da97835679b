"""Flower's simulation engine on Ray in the benchmark of engines: 100 nodes, the bare model, Flower's own messages.

Clients send clipped updates, as sums of weights would lose them in rounding; each actor keeps the world that it read.
"""

import logging
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from engines_model import (
    CLIP_NORM,
    COHORT,
    KINDS,
    NOISE_MULTIPLIER,
    Problem,
    Tower,
    adapter_of,
    local_update,
    negatives_of,
    serve,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

client_app = ClientApp()


@lru_cache(maxsize=1)
def _world(file: str) -> tuple[Problem, Tower]:
    problem = Problem.load(Path(file))
    return problem, Tower(problem.vectors)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One client's clipped update."""
    told = message.content.config_records["round"]
    problem, tower = _world(str(told["file"]))
    adapter = message.content.array_records["adapter"]["adapter"].numpy()
    kind = KINDS[str(told["kind"])]
    tower.start(adapter, negatives_of(int(told["number"]), kind))
    client = int(context.node_config["partition-id"])
    update = local_update(tower, problem.clients[kind.name][client])
    return Message(RecordDict({"update": ArrayRecord({"update": _array(update)})}), reply_to=message)


def _array(values: Any) -> Any:
    return Array(values)


def run(file: Path) -> None:
    """Answer the conductor from inside a ServerApp until it has no more rounds; nothing of Ray is left then."""
    # A cluster that somebody left on this machine is not joined.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    os.environ |= quiet | {"RAY_ADDRESS": "local"}
    logging.getLogger("flwr").setLevel(logging.ERROR)
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
        serve(lambda asked: _round(grid, file, asked))

    run_simulation(
        server_app,
        client_app,
        num_supernodes=COHORT,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"address": "local", "log_to_driver": False},
        },
    )


def _round(grid: Grid, file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    adapter = adapter_of(asked["number"])
    nodes = _nodes(grid)
    began = time.perf_counter()
    told = ConfigRecord({"file": str(file), "kind": asked["kind"], "number": asked["number"]})
    content = RecordDict({"adapter": ArrayRecord({"adapter": _array(adapter)}), "round": told})
    messages = [Message(content, node, "train", group_id=str(asked["number"])) for node in nodes]
    total, replies = np.zeros(len(adapter)), 0
    for reply in grid.send_and_receive(messages):
        total += reply.content.array_records["update"]["update"].numpy()
        replies += 1
    noise = np.random.default_rng().normal(scale=NOISE_MULTIPLIER * CLIP_NORM, size=len(total))
    (total + noise) / COHORT
    seconds = time.perf_counter() - began
    if replies != COHORT:
        raise SystemExit(f"{COHORT - replies} replies were lost: this measures nothing.")
    if asked.get("save"):
        np.save(asked["save"], total)
    return {"seconds": seconds}


def _nodes(grid: Grid) -> list[int]:
    while len(found := list(grid.get_node_ids())) < COHORT:
        time.sleep(0.1)
    return found
