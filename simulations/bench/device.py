"""Print how fast and how small recommending on a device is, beside plain numpy and usearch.

Each figure is taken in a process of its own on one core, as a device would run it: a store
with 300 events, a signed release, lists of ten with all re-ranking on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ITEMS = {"10k": 10_000, "100k": 100_000}
WIDTH = 384
EVENTS = 300
K = 10


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=_MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--repetitions", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.what](options.measure, options.repetitions)))
        return
    report = measured(repetitions=200 if options.quick else 2000)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(*, repetitions: int) -> dict[str, Any]:
    """The whole report."""
    results: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, items in ITEMS.items():
            device = Path(scratch) / name
            build(device, items=items, encoder=name == "10k")
            loop = _alone(device, "loop", repetitions)
            results |= {f"p50_ms_{name}": loop["p50"], f"p99_ms_{name}": loop["p99"], f"rss_mib_{name}": loop["rss"]}
            search = _alone(device, "search", max(20, repetitions // 20))
            results |= {f"search_ms_{name}": search}
            ratios |= {f"int8_vs_{other}_{name}": search["int8"] / search[other] for other in search if other != "int8"}
            if name == "10k":
                starts = sorted(_alone(device, "start", 1) for _ in range(5))
                results |= {"start_s": starts[2], "imports_torch": loop["torch"]}
                results |= _alone(device, "texts", max(20, repetitions // 20))
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "numpy": np.__version__},
        "work": {"items": ITEMS, "width": WIDTH, "events": EVENTS, "k": K, "repetitions": repetitions, "cores_used": 1},
        "results": results,
        "ratios": ratios,
    }


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    found = report["results"]
    lines = [
        f"record then recommend, {name}: median {found[f'p50_ms_{name}']:.2f} ms, "
        f"p99 {found[f'p99_ms_{name}']:.2f} ms, {found[f'rss_mib_{name}']:.0f} MiB"
        for name in ITEMS
    ]
    lines += [f"search alone, {name}: {found[f'search_ms_{name}']}" for name in ITEMS]
    lines += [
        f"start to first list: {found['start_s']:.2f} s; torch imported: {found['imports_torch']}",
        f"with the text encoder: {found['rss_mib_10k_with_encoder']:.0f} MiB, a text {found['text_ms']:.1f} ms",
    ]
    return "\n".join(lines)


def build(device: Path, *, items: int, encoder: bool) -> None:
    """A device with a release of random items, and a history in its store."""
    from device_world import make_device

    make_device(device, items=items, width=WIDTH, events=EVENTS, encoder=encoder)


def _alone(device: Path, what: str, repetitions: int) -> Any:
    """One measure in a process of its own, on one core; `start` counts from before that process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", str(device), "--what", what]
    began = time.time()
    run = subprocess.run(
        [*command, "--repetitions", str(repetitions)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    found = json.loads(run.stdout)
    return found - began if what == "start" else found


def _loop(device: Path, repetitions: int) -> dict[str, Any]:
    """Record an event, then recommend: percentiles in milliseconds, and the memory of the process."""
    from fedrec.data.events import Event, Kind
    from fedrec.ondevice.engine import Engine

    draw = np.random.default_rng(1)
    kinds = (Kind.VIEW, Kind.CLICK, Kind.LIKE, Kind.SKIP, Kind.SAVE)
    took = []
    with Engine.open(device) as engine:
        rows = draw.integers(0, len(engine.index), repetitions + 20)
        for number, row in enumerate(rows.tolist()):
            event = Event(
                user_id="me",
                item_id=str(engine.index.item_ids[row]),
                timestamp=1_700_000_000 + number,
                kind=kinds[number % len(kinds)],
            )
            began = time.perf_counter()
            engine.record(event)
            found = engine.recommend(K)
            took.append((time.perf_counter() - began) * 1000)
            if len(found.items) != K:
                raise SystemExit("The list is short: this measures nothing.")
    steady = took[20:]
    return {
        "p50": float(np.percentile(steady, 50)),
        "p99": float(np.percentile(steady, 99)),
        "rss": _rss_mib(),
        "torch": "torch" in sys.modules,
    }


def _start(device: Path, _: int) -> float:
    """The moment of the first list; the caller knows when the process was started."""
    from fedrec.ondevice.engine import Engine

    with Engine.open(device) as engine:
        engine.recommend(K)
        return time.time()


def _texts(device: Path, repetitions: int) -> dict[str, float]:
    """What reading texts costs: memory once the encoder is loaded, and a text's median time."""
    from fedrec.ondevice.context import Context
    from fedrec.ondevice.engine import Engine

    took = []
    with Engine.open(device) as engine:
        for number in range(repetitions + 3):
            began = time.perf_counter()
            engine.recommend(K, context=Context(text=f"a quiet story about a ship in winter, part {number}"))
            took.append((time.perf_counter() - began) * 1000)
        return {
            "rss_mib_10k_with_encoder": _rss_mib(),
            "first_text_ms": took[0],
            "text_ms": float(np.median(took[3:])),
        }


def _search(device: Path, repetitions: int) -> dict[str, float]:
    """Median milliseconds of the best ten of one query: our int8 blocks, numpy float32, usearch exact."""
    from usearch.index import search

    from fedrec.model.device_index import DEVICE_INDEX, DeviceIndex
    from fedrec.ondevice.releases import active

    index = DeviceIndex.open(active(device).folder / DEVICE_INDEX)
    vectors = np.ascontiguousarray(index.vectors(slice(None)))
    halves = vectors.astype(np.float16)
    queries = np.random.default_rng(2).normal(size=(repetitions, index.width)).astype(np.float32)
    ways: dict[str, Callable[[Any], Any]] = {
        "int8": lambda query: np.argpartition(-index.scores(query), K)[:K],
        "numpy_float32": lambda query: np.argpartition(-(vectors @ query), K)[:K],
        "usearch_float16": lambda query: search(halves, query.astype(np.float16), K, exact=True, metric="ip"),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for query in queries:
        for name, way in ways.items():
            began = time.perf_counter()
            way(query)
            took[name].append((time.perf_counter() - began) * 1000)
    return {name: float(np.median(times)) for name, times in took.items()}


def _rss_mib() -> float:
    """What the process holds in memory now, as Linux counts it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


_MEASURES: dict[str, Callable[[Path, int], Any]] = {"loop": _loop, "start": _start, "texts": _texts, "search": _search}

if __name__ == "__main__":
    main()
