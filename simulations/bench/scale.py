"""Print how the time of a round grows with its cohort and does not with the population, and the memory of a million.

The work is `simulations/million.toml`'s on synthetic worlds, under the cohort engine and through the same rounds,
ledger and noise as every run. Cohorts, and populations, take turns within one process: a machine's speed drifts.
Run folders lie in memory: a round syncs some files, whatever its cohort; what that costs on the disk is told beside.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[2]
SCENARIO = REPOSITORY / "simulations" / "million.toml"
ITEMS = 5_000
NAMES = {10_000: "10k", 100_000: "100k", 1_000_000: "1m"}
COHORTS = (100, 300, 1_000, 3_000, 10_000)
QUICK_COHORTS = (100, 300, 1_000)
# The first round of a run fills caches: it is left out.
ROUNDS = 4
_IN_MEMORY = Path("/dev/shm")  # noqa: S108


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="100,000 people in place of a million, small cohorts")
    parser.add_argument("--worlds", type=Path, help="a folder that keeps the worlds for the next time")
    parser.add_argument("--measure", choices=_MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--of", nargs="*", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure](*options.of)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        report = measured(options.worlds or Path(scratch), quick=options.quick)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(worlds: Path, *, quick: bool) -> dict[str, Any]:
    """The whole report; worlds that lie in the folder are not made again."""
    few, many = (10_000, 100_000) if quick else (10_000, 1_000_000)
    cohorts, sweeps = (QUICK_COHORTS, 1) if quick else (COHORTS, 5)
    made = {people: _alone("world", str(worlds / NAMES[people]), str(people)) for people in (few, many)}
    growth = _alone("growth", str(worlds / NAMES[many]), str(sweeps), *map(str, cohorts))
    rates = _alone("rates", str(sweeps), *(str(worlds / NAMES[people]) for people in (few, many)))
    fit = fitted(cohorts, growth["seconds"])
    name, world = NAMES[many], made[many]
    making = {"world_s": world["seconds"], "world_peak_gib": world["peak_gib"]} if world["made"] else {}
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "numpy": np.__version__},
        "work": {
            "scenario": SCENARIO.name,
            "users": many,
            "items": ITEMS,
            "events": world["events"],
            "cohorts": list(cohorts),
            "rounds": sweeps * (ROUNDS - 1),
        },
        "results": {
            **fit,
            "round_s": dict(zip(map(str, cohorts), growth["seconds"], strict=True)),
            "disk_s": growth["disk_s"],
            "peak_gib": growth["peak_gib"],
            "open_s": growth["open_s"],
            **making,
            "rate_10k": rates["rates"][0],
            f"rate_{name}": rates["rates"][1],
        },
        "ratios": {
            "fixed_in_clients": fit["fit_fixed_s"] / fit["fit_per_client_s"],
            "fixed_and_disk_in_clients": (fit["fit_fixed_s"] + growth["disk_s"]) / fit["fit_per_client_s"],
            f"rate_{name}_vs_10k": rates["rates"][1] / rates["rates"][0],
        },
    }


def fitted(cohorts: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """a + b n through the rounds' times, by least squares of the relative errors, and the worst of these."""
    sizes, times = np.asarray(cohorts, dtype=np.float64), np.asarray(seconds)
    columns = np.stack([np.ones(len(sizes)), sizes], axis=1)
    (fixed, each), *_ = np.linalg.lstsq(columns / times[:, None], np.ones(len(sizes)))
    worst = np.abs(columns @ (fixed, each) / times - 1).max()
    return {"fit_fixed_s": float(fixed), "fit_per_client_s": float(each), "fit_worst_error": float(worst)}


def _world(path: str, people: str) -> dict[str, Any]:
    """Make a world where it is not there yet, and pack its histories."""
    from fedrec.config_file import load_scenario
    from fedrec.data.dataset import Dataset
    from fedrec.data.synthetic import write_world
    from fedrec.training.workbench import split_of

    folder, began = Path(path), time.monotonic()
    new = not folder.exists()
    if new:
        write_world(folder, users=int(people), items=ITEMS, seed=1)
    dataset, scenario = Dataset.open(folder), load_scenario(SCENARIO)
    split_of(dataset, scenario.data, seed=scenario.seed)
    return {
        "made": new,
        "seconds": time.monotonic() - began,
        "events": dataset.info.events,
        "peak_gib": _peak_gib(),
    }


def _growth(path: str, sweeps: str, *cohorts: str) -> dict[str, Any]:
    """The median time of a round of each cohort, and the peak memory of all of it."""
    began = time.monotonic()
    workbench = _workbench(Path(path))
    opened = time.monotonic() - began
    taken, synced = [], []
    for _ in range(int(sweeps)):
        taken.append([_rounds(workbench, cohort=int(cohort)) for cohort in cohorts])
        synced += _rounds(workbench, cohort=int(cohorts[0]), on_disk=True)
    seconds = np.median(np.concatenate(taken, axis=1), axis=1)
    return {
        "seconds": seconds.tolist(),
        "disk_s": float(np.median(synced) - seconds[0]),
        "peak_gib": _peak_gib(),
        "open_s": opened,
    }


def _rates(sweeps: str, *paths: str) -> dict[str, Any]:
    """Clients per second in each of some worlds, by rounds of the scenario's cohort."""
    benches = [_workbench(Path(path)) for path in paths]
    cohort = benches[0].scenario.federation.cohort
    # Twice as often: the two are nearly alike, and a busy moment of the machine is not.
    taken = [[_rounds(workbench, cohort=cohort) for workbench in benches] for _ in range(2 * int(sweeps))]
    return {"rates": (cohort / np.median(np.concatenate(taken, axis=1), axis=1)).tolist()}


def _workbench(path: Path) -> Any:
    from fedrec.config_file import load_scenario
    from fedrec.training.workbench import open_workbench

    return open_workbench(load_scenario(SCENARIO), path)


def _rounds(workbench: Any, *, cohort: int, on_disk: bool = False) -> list[float]:
    """The seconds from one finished round to the next, in a run of its own."""
    from fedrec.release import signing_key
    from fedrec.runs.facts import config_text
    from fedrec.runs.recipe import recipe_of, run_id_of, start_of
    from fedrec.simulation.engines import cohort_engine
    from fedrec.training.round import Hooks, run_rounds
    from fedrec.training.run_folder import RunFolder

    scenario = workbench.scenario
    federation = replace(scenario.federation, rounds=ROUNDS, cohort=cohort, min_replies=1, release_every=ROUNDS)
    workbench = replace(workbench, scenario=replace(scenario, federation=federation))
    finished: list[float] = []
    hooks = Hooks(
        measure=lambda _: None, publish=lambda *_: None, report=lambda _: finished.append(time.perf_counter())
    )
    with tempfile.TemporaryDirectory(dir=None if on_disk or not _IN_MEMORY.is_dir() else _IN_MEMORY) as scratch:
        folder = RunFolder(Path(scratch) / "run", config_text(workbench), resume=False)
        recipe = recipe_of(workbench, run_id=run_id_of(signing_key(folder.signing_key)), directory_of=dict)
        with cohort_engine(workbench, folder) as engine:
            run_rounds(folder, engine, recipe, start_of(workbench), hooks)
    return np.diff(finished).tolist()


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _alone(measure: str, *of: str) -> Any:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", measure, "--of", *of]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=REPOSITORY)
    return json.loads(done.stdout)


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    results, work, ratios = report["results"], report["work"], report["ratios"]
    made = "lay there before"
    if "world_s" in results:
        made = f"made and packed in {results['world_s']:.0f} s and {results['world_peak_gib']:.2f} GiB"
    lines = [
        f"{work['users']:,} people, {work['events']:,} events: {made}",
        f"opened in {results['open_s']:.1f} s; peak memory {results['peak_gib']:.2f} GiB",
        *(f"  a round of {int(cohort):>6,} clients: {took:.3f} s" for cohort, took in results["round_s"].items()),
        f"  {results['fit_fixed_s']:.3f} s + {1e3 * results['fit_per_client_s']:.3f} ms per client, within "
        f"{results['fit_worst_error']:.0%}; the fixed part costs as much as {ratios['fixed_in_clients']:.0f} clients, "
        f"with {results['disk_s']:.3f} s for the disk as much as {ratios['fixed_and_disk_in_clients']:.0f}",
        *(f"  {name}: {value:,.0f} clients/s" for name, value in results.items() if name.startswith("rate_")),
    ]
    return "\n".join(lines)


_MEASURES = {"world": _world, "growth": _growth, "rates": _rates}

if __name__ == "__main__":
    main()
