"""Print how fast the server adds up a round beside the machine's copy, how much memory it takes, and how soon a
device's client answers.

Replies come through the real path: unpacked from Flower's records, checked, added in float64. Each figure is taken
in a process of its own on one core.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[2]
PARAMETERS = 26_000
UPDATES = 10_000
# Different updates that are visited in turn: more than a processor's caches hold.
POOL = 1_000
ITEMS = 10_000


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--deployed", action="store_true", help="run a whole service too, and split a round's time")
    parser.add_argument("--measure", choices=_MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--of", default="", help=argparse.SUPPRESS)
    parser.add_argument("--repetitions", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure](options.of, options.repetitions)))
        return
    report = measured(repetitions=3 if options.quick else 11)
    if options.deployed:
        report["results"]["deployed_round_s"] = _deployed(rounds=4 if options.quick else 12)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(*, repetitions: int) -> dict[str, Any]:
    """The whole report."""
    results: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    for way in _NAMES:
        found = _alone("adding", way, repetitions)
        results |= {f"{way}_us_per_update": found["added_us"], f"{way}_copy_us_per_update": found["copied_us"]}
        ratios |= {f"{_NAMES[way]}_vs_copy": found["ratio"]}
    for updates in (UPDATES // 10, UPDATES):
        results[f"rss_mib_{updates}"] = _alone("memory", str(updates), 1)
    with tempfile.TemporaryDirectory() as scratch:
        device = Path(scratch) / "device"
        _make_device(device)
        # Each start is of a device that has not taken part yet.
        fresh = [shutil.copytree(device, device.with_name(f"device-{number}")) for number in range(repetitions)]
        starts = [_alone("start", str(each), 1) for each in fresh]
    for name in ("client_import_s", "client_start_s", "client_reply_s"):
        results[name] = float(np.median([start[name] for start in starts]))
    results["imports_torch"] = any(start["torch"] for start in starts)
    results["copy_gb_per_s"] = 4e-3 * PARAMETERS / results["mean_copy_us_per_update"]
    results["mean_gb_per_s"] = 4e-3 * PARAMETERS / results["mean_us_per_update"]
    ratios["memory_of_ten_times_the_updates"] = results[f"rss_mib_{UPDATES}"] / results[f"rss_mib_{UPDATES // 10}"]
    work = {"parameters": PARAMETERS, "updates": UPDATES, "pool": POOL, "repetitions": repetitions, "cores_used": 1}
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "numpy": np.__version__},
        "work": {**work, "items": ITEMS},
        "results": results,
        "ratios": ratios,
    }


def _deployed(*, rounds: int) -> dict[str, float]:
    # What a deployed service is, its test says too.
    sys.path.insert(0, str(REPOSITORY))
    from server_deployed import deployed

    return deployed(rounds=rounds)


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    found, ratios = report["results"], report["ratios"]
    lines = [
        f"{UPDATES} updates of {PARAMETERS} numbers, mean: {found['mean_us_per_update']:.1f} us each, "
        f"{found['mean_gb_per_s']:.1f} GB/s, {ratios['aggregate_vs_copy']:.2f} of copying them",
        *(f"{way}: {found[f'{way}_us_per_update']:.1f} us each" for way in _NAMES if way != "mean"),
        f"memory: {found[f'rss_mib_{UPDATES // 10}']:.0f} MiB for {UPDATES // 10} updates, "
        f"{found[f'rss_mib_{UPDATES}']:.0f} MiB for {UPDATES}",
        f"a device's client: imported after {found['client_import_s']:.2f} s, first reply after "
        f"{found['client_start_s']:.2f} s, the next in {found['client_reply_s']:.2f} s; "
        f"torch imported: {found['imports_torch']}",
    ]
    if split := found.get("deployed_round_s"):
        parts = ", ".join(f"{name} {split[name]:.2f}" for name in split if name != "total")
        lines.append(f"a deployed round takes {split['total']:.2f} s: {parts}")
    return "\n".join(lines)


def _alone(measure: str, of: str, repetitions: int) -> Any:
    """One measure in a process of its own, on one core; `start` counts from before that process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, __file__, "--measure", measure, "--of", of, "--repetitions", str(repetitions)]
    began = time.time()
    run = subprocess.run(
        command,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    found = json.loads(run.stdout)
    if measure != "start":
        return found
    started = {"client_import_s": found["imported"] - began, "client_start_s": found["replied"] - began}
    return {**started, "client_reply_s": found["again"] - found["replied"], "torch": found["torch"]}


def _adding(way: str, repetitions: int) -> dict[str, float]:
    """Median microseconds per update of adding up a round, and of copying the same bytes from memory to memory."""
    from server_world import PLAN, Arriving, an_instruction, packed_replies

    from fedrec.training.aggregation import UpdateSum
    from fedrec.training.blocks import blocks_of
    from fedrec.training.collecting import Until, ask
    from fedrec.training.robust import draw_groups

    cohort = range(UPDATES)
    messages = packed_replies(PARAMETERS, count=POOL)
    plan = PLAN if way == "central" else None
    blocks = blocks_of(PLAN, "update", size=PARAMETERS) if way == "central" else []
    bound = 2.0 if way == "norm_bound" else None
    groups = draw_groups(cohort, count=11 if way == "median_of_means" else 1, seed=0)
    engine, instruction = Arriving(messages), an_instruction(PARAMETERS, plan=plan)
    until = Until(timeout=600, enough=UPDATES)

    def add() -> None:
        total = UpdateSum(PARAMETERS, blocks=blocks, norm_bound=bound, groups=groups)
        collected = ask(engine, instruction, cohort, total=total, until=until)
        total.mean(expected=UPDATES)
        if collected.failures or total.count != UPDATES:
            raise SystemExit("Replies were lost: this measures nothing.")

    source = [reply.update for reply in engine.collect(instruction, range(POOL), timeout=600)]
    places = np.ones((POOL, PARAMETERS), dtype=np.float32)

    def copy() -> None:
        for _ in range(UPDATES // POOL):
            for update, place in zip(source, places, strict=True):
                np.copyto(place, update)

    # In turn, and compared in pairs, so that whatever else the machine does meets both.
    times = np.array([(_seconds(copy), _seconds(add)) for _ in range(repetitions)]) / UPDATES * 1e6
    copied, added = np.median(times, axis=0)
    return {"copied_us": float(copied), "added_us": float(added), "ratio": float(np.median(times[:, 0] / times[:, 1]))}


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory(updates: str, _: int) -> float:
    """The most memory that the process held, in MiB, where each reply comes fresh."""
    from server_world import Fresh, an_instruction

    from fedrec.training.aggregation import UpdateSum
    from fedrec.training.collecting import Until, ask

    engine = Fresh(np.ones(PARAMETERS, dtype=np.float32))
    cohort, instruction = range(int(updates)), an_instruction(PARAMETERS, plan=None)
    until = Until(timeout=600, enough=int(updates))
    ask(engine, instruction, cohort, total=UpdateSum(PARAMETERS), until=until)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make_device(device: Path) -> None:
    from device_world import make_device
    from server_world import PLAN

    width = 384
    rank = -(-PARAMETERS // width)
    make_device(device, items=ITEMS, width=width, events=300, encoder=False, rank=rank, plan=PLAN)


def _start(device: str, _: int) -> dict[str, Any]:
    """The moments at which a device's app was imported, had made its first reply, and its second."""
    from client.app import app

    imported = time.time()
    from server_world import context_of, questions

    moments = []
    for question in questions(Path(device), count=2):
        reply = app(question, context_of(Path(device)))
        if "update" not in reply.content:
            raise SystemExit("The device refused: this measures nothing.")
        moments.append(time.time())
    return {"imported": imported, "replied": moments[0], "again": moments[1], "torch": "torch" in sys.modules}


# How a round can be added up, and what its ratio is called.
_NAMES = {"mean": "aggregate", "central": "central", "norm_bound": "norm_bound", "median_of_means": "median_of_means"}
_MEASURES: dict[str, Callable[[str, int], Any]] = {"adding": _adding, "memory": _memory, "start": _start}

if __name__ == "__main__":
    main()
