"""Print what live history is worth: the last fifth of each person's events, replayed through the agent one by one.

An adapter is trained on the first four fifths. Then, for every event of the last fifth: ask
the agent of a real device for ten items, look where the event's item is, tell the agent of
the event. Beside it the same with the history frozen, and with personal weights.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fedrec.agent.app import create_app
from fedrec.agent.client import AgentClient
from fedrec.agent.tokens import agent_token
from fedrec.data.dataset import Dataset, DatasetWriter
from fedrec.data.events import Event, Kind
from fedrec.data.importers.movielens import import_movielens
from fedrec.data.store.store import Store
from fedrec.evaluation.metrics import Estimate, bootstrap, bootstrap_difference
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.releases import install, pin_signer
from fedrec.web.limits import Limits
from fedrec.web.serve import Running, listen, serve

RECIPE = Path(__file__).parents[1] / "movielens_small.toml"
KEPT = 0.8
K = 10
# As many as the agent gives at once: what was seen since is taken out of a frozen list.
_MOST = 100
_BATCH = 1000
_UNLIMITED = Limits(rate=1e9, burst=10**9)


def main() -> None:
    """Replay, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of ml-latest-small")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="40 people and a short training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = replayed(options.source, Path(scratch), quick=options.quick)
    print(json.dumps(report, indent=2) if options.json else text(report))


def replayed(source: Path, scratch: Path, *, quick: bool) -> dict[str, Any]:
    """The whole report; `scratch` is an empty folder for data, run and device."""
    import_movielens(source, out=scratch / "all")
    people = cut(Dataset.open(scratch / "all"), scratch / "early")
    if quick:
        people = dict(list(people.items())[::15])
    people = {name: parts for name, parts in people.items() if any(event.kind is Kind.RATE for event in parts[1])}
    release = trained(scratch, rounds=5 if quick else 50)
    device = scratch / "device"
    device.mkdir()
    pin_signer(device, release.parents[1] / "signing.pub")
    install(device, release)
    Store.create(device, keys="file").close()
    with running(device) as (client, engine):
        rows = []
        for number, (early, late) in enumerate(people.values(), start=1):
            rows.append(person(client, engine, early, late))
            print(f"\r{number} of {len(people)} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "work": {
            "data": "ml-latest-small",
            "people": len(people),
            "events": int(sum(len(late) for _, late in people.values())),
            "kept": KEPT,
            "k": K,
        },
        "results": compared(rows),
        "ratios": {"live_vs_frozen": float(np.mean([r["live"] for r in rows]) / np.mean([r["frozen"] for r in rows]))},
    }


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    found = report["results"]
    return "\n".join(
        f"{name}: {each['value']:.4f} ({each['low']:.4f} to {each['high']:.4f})" for name, each in found.items()
    )


def cut(dataset: Dataset, early: Path) -> dict[str, tuple[list[Event], list[Event]]]:
    """Write the first four fifths of everybody's events as a dataset; returns both parts of each person."""
    events = dataset.events().collect().sort("user_id", "timestamp", "item_id")
    place = pl.int_range(pl.len()).over("user_id")
    marked = events.with_columns((place < pl.len().over("user_id") * KEPT).alias("early"))
    with DatasetWriter(early, sorted_input=True) as writer:
        writer.add_events(marked.filter("early").drop("early"))
        writer.set_catalogue(dataset.catalogue())
        writer.commit(source=dataset.info.source, licence=dataset.info.licence, importer="replay")
    parts: dict[str, tuple[list[Event], list[Event]]] = {}
    for row in marked.iter_rows(named=True):
        event = Event(
            user_id="me",
            item_id=row["item_id"],
            timestamp=row["timestamp"],
            kind=Kind(row["kind"]),
            value=row["value"],
            text=row["text"],
        )
        parts.setdefault(row["user_id"], ([], []))[0 if row["early"] else 1].append(event)
    return parts


def trained(scratch: Path, *, rounds: int) -> Path:
    """The last release of a run on the early events."""
    command = ["simulate", RECIPE, "--data", scratch / "early", "--out", scratch / "run", "--json"]
    settings = [f"federation.rounds={rounds}", "evaluation.baselines=[]", "evaluation.non_private_twin=false"]
    sets = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([Path(sys.executable).with_name("fedrec"), *command, *sets], check=True, stdout=subprocess.DEVNULL)
    return max(path for path in (scratch / "run" / "releases").iterdir() if not path.name.startswith("."))


def person(client: AgentClient, engine: Engine, early: list[Event], late: list[Event]) -> dict[str, float]:
    """One person's mean NDCG@10 over the late events: live history, frozen history, live with personal weights."""
    fixed = told(client, early)
    gains: dict[str, list[float]] = {"live": [], "frozen": [], "personal": []}
    for event in late:
        if event.kind is Kind.RATE:
            gains["live"].append(gain([item.item_id for item in client.recommend(K).items], event))
            gains["frozen"].append(gain(fixed[:K], event))
        client.record([event])
        fixed = [item for item in fixed if item != event.item_id]
    told(client, early)
    # No route of the agent: what does not help is not offered on the page.
    engine.use_personal_weights(True)
    for event in late:
        if event.kind is Kind.RATE:
            gains["personal"].append(gain([item.item_id for item in client.recommend(K).items], event))
        client.record([event])
    return {name: float(np.mean(values)) for name, values in gains.items()}


def told(client: AgentClient, early: list[Event]) -> list[str]:
    """Forget everybody, learn of a person's early events, and return the best items by then."""
    client.erase(confirm="erase")
    client.change_settings(diversity=0.0)
    for start in range(0, len(early), _BATCH):
        client.record(early[start : start + _BATCH])
    return [item.item_id for item in client.recommend(_MOST).items]


def gain(items: list[str], event: Event) -> float:
    """NDCG at 10 with one relevant item."""
    return float(1 / np.log2(items.index(event.item_id) + 2)) if event.item_id in items else 0.0


def compared(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means over people with 95% bootstrap intervals, and their differences, person by person."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    found = {f"ndcg@10_{name}": bootstrap(values, seed=0) for name, values in columns.items()}
    found |= {
        f"{name}_minus_{other}": bootstrap_difference(columns[name], columns[other], seed=0)
        for name, other in (("live", "frozen"), ("personal", "live"))
        if name in columns
    }
    return {name: _table(estimate) for name, estimate in found.items()}


@contextmanager
def running(device: Path) -> Iterator[tuple[AgentClient, Engine]]:
    """The agent of a device, answering on loopback: a client of it, and the engine behind it."""
    token, ready = agent_token(device), threading.Event()
    with Engine.open(device) as engine, listen(0) as listening:
        port = int(listening.getsockname()[1])
        app = create_app(engine, token=token, port=port, limits=_UNLIMITED)
        thread = threading.Thread(
            target=serve,
            args=(app, listening),
            kwargs={"running": Running(service="agent", ready=ready.set)},
            daemon=True,
        )
        thread.start()
        ready.wait(30)
        yield AgentClient(port, token=token), engine


def _table(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


if __name__ == "__main__":
    main()
