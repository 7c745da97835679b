"""Print what correlated noise saves in accuracy, and costs in time, against independent noise.

Both noises have the same noise multiplier, hence the same epsilon for a client that takes
part in every round that its minimum separation permits.
"""

import argparse
import itertools
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.correlated_noise import BandedToeplitz, CorrelatedNoise, NoiseState, best_bands
from fedrec.privacy.noise_state import SavedNoise, load_noise_state, noise_key, save_noise_state
from fedrec.privacy.randomness import system_source
from fedrec.privacy.spends import GaussianSpend

PARAMETERS = 147_456
NOISE_MULTIPLIER = 4.0
DELTA = 1e-6
GRID = ((64, 16), (100, 10), (1000, 10), (1000, 64), (1000, 100), (1000, 300))
BANDS = (1, 16, 64)


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    options = parser.parse_args()
    report = measured(repetitions=3 if options.quick else 20, coordinates=200 if options.quick else 2000)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(*, repetitions: int, coordinates: int) -> dict[str, Any]:
    """The whole report."""
    accuracy = [accuracy_at(rounds, separation, coordinates) for rounds, separation in GRID]
    speed = speeds(repetitions)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "numpy": np.__version__},
        "work": {
            "parameters": PARAMETERS,
            "noise_multiplier": NOISE_MULTIPLIER,
            "delta": DELTA,
            "repetitions": repetitions,
            "coordinates": coordinates,
        },
        "results": {"prefix_error": accuracy, "seconds_by_bands": speed},
        "ratios": {
            "independent_vs_banded_error": {
                f"R={row['rounds']},b={row['separation']}": row["independent"] / row["banded"] for row in accuracy
            },
            "draw_vs_independent": {bands: each["draw"] / speed["1"]["draw"] for bands, each in speed.items()},
        },
    }


def accuracy_at(rounds: int, separation: int, coordinates: int) -> dict[str, float]:
    """Prefix errors in units of noise_std, computed and drawn, at one epsilon."""
    bands, participations = best_bands(rounds=rounds, separation=separation), math.ceil(rounds / separation)
    spend = GaussianSpend(noise_multiplier=NOISE_MULTIPLIER, sampling_rate=1, steps=1)
    return {
        "rounds": rounds,
        "separation": separation,
        "bands": bands,
        "participations": participations,
        "epsilon": epsilon_of(((spend, participations),), delta=DELTA),
        "independent": BandedToeplitz(1).prefix_error(rounds),
        "independent_drawn": drawn_error(1, rounds, coordinates),
        "banded": BandedToeplitz(bands).prefix_error(rounds),
        "banded_drawn": drawn_error(bands, rounds, coordinates),
    }


def drawn_error(bands: int, rounds: int, coordinates: int) -> float:
    """The root mean square of the running sums of noise that was really drawn."""
    noise, source = CorrelatedNoise(encoder=BandedToeplitz(bands), noise_std=1.0), system_source()
    state, total, squares = NoiseState(), np.zeros(coordinates), 0.0
    for _ in range(rounds):
        row, state = noise.draw(state, source, size=coordinates)
        total += row
        squares += float(total @ total)
    return math.sqrt(squares / (rounds * coordinates))


def speeds(repetitions: int) -> dict[str, dict[str, float]]:
    """Median seconds by bands: a draw, saving the state after it, loading that; the state is full.

    Bands take turns, so that a busy machine slows all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        cases = {str(bands): actions(bands, Path(folder) / str(bands)) for bands in BANDS}
        times: dict[str, dict[str, list[float]]] = {bands: {name: [] for name in cases[bands]} for bands in cases}
        for name in ("save", "load", "draw"):
            for _, bands in itertools.product(range(repetitions), cases):
                began = time.perf_counter()
                cases[bands][name]()
                times[bands][name].append(time.perf_counter() - began)
        medians = {bands: {name: float(np.median(taken)) for name, taken in times[bands].items()} for bands in cases}
        return {
            bands: {**each, "state_mb": (Path(folder) / bands).stat().st_size / 1e6} for bands, each in medians.items()
        }


def actions(bands: int, path: Path) -> dict[str, Callable[[], object]]:
    """What is timed, on a state that holds all its rows."""
    noise, source, state = CorrelatedNoise(encoder=BandedToeplitz(bands), noise_std=1.0), system_source(), NoiseState()
    for _ in range(bands):
        row, state = noise.draw(state, source, size=PARAMETERS)
    key = noise_key(path.with_suffix(".key"))
    return {
        "draw": lambda: noise.draw(state, source, size=PARAMETERS),
        "save": lambda: save_noise_state(path, SavedNoise(state, row), key=key, run_id="bench"),
        "load": lambda: load_noise_state(path, key=key, run_id="bench", rounds=[state.round]),
    }


def text(report: dict[str, Any]) -> str:
    """The report in lines."""
    errors = [
        f"{row['rounds']} rounds, {row['separation']} apart, epsilon {row['epsilon']:.2f}: prefix error "
        f"{row['banded']:.2f} with {row['bands']} bands, {row['independent']:.2f} independent"
        for row in report["results"]["prefix_error"]
    ]
    speeds = [
        f"{bands} bands: draw {1e3 * each['draw']:.1f} ms, save {1e3 * each['save']:.1f} ms, "
        f"load {1e3 * each['load']:.1f} ms, {each['state_mb']:.1f} MB"
        for bands, each in report["results"]["seconds_by_bands"].items()
    ]
    return "\n".join(errors + speeds)


if __name__ == "__main__":
    main()
