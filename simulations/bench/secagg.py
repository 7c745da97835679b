"""Print what a sum under masks costs clients and server, beside adding up plain updates and beside Flower's SecAgg+.

A twentieth of the cohort drops out when its masked input is asked for: then the server has most to do. Times are of
the processor, on one core, each cohort in a process of its own; a client's are medians, its bytes means, over those
that survive. What a client sends and is sent beside (the adapter, Flower's envelopes) is left out everywhere.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 1_000
QUICK_CLIENTS = 200
PARAMETERS = (26_000, 100_000)
COHORTS = (10, 100, 200, 1_000)
# Flower's shares are made and put together in plain Python, by the square of a client's neighbours, whatever the size
# of an update: 1,000 clients take half an hour.
FLOWER = ((10, 26_000), (100, 26_000), (200, 26_000), (10, 100_000))
# Which words the grid takes, with noise and without, for updates of these sizes.
GRID_COHORTS, GRID_SIZES = (10, 20, 50, 100, 1_000), (1_000, 26_000, 100_000)


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CLIENTS} clients, and Flower's with 10")
    parser.add_argument("--flower", action="store_true", help=f"Flower's with {CLIENTS} clients too: half an hour")
    parser.add_argument("--measure", choices=_MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure](*options.of)))
        return
    report = quick() if options.quick else whole(flower=options.flower)
    print(json.dumps(report, indent=2) if options.json else text(report))


def quick() -> dict[str, Any]:
    """The report of one cohort of 200, with Flower's of 10."""
    size = PARAMETERS[0]
    pairs = [(10, size), (QUICK_CLIENTS, size)]
    return _report(_alone_each("secure", pairs), _alone_each("plain", pairs), _alone_each("flower", pairs[:1]))


def whole(*, flower: bool) -> dict[str, Any]:
    """The report of all cohorts and sizes. flower: whether Flower adds up the largest cohort, too, once."""
    pairs = [(clients, size) for size in PARAMETERS for clients in COHORTS]
    theirs = [*FLOWER, (CLIENTS, PARAMETERS[0])] if flower else [*FLOWER]
    return _report(_alone_each("secure", pairs), _alone_each("plain", pairs), _alone_each("flower", theirs))


def _alone_each(measure: str, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [_alone(measure, clients, size) for clients, size in pairs]


def _report(ours: list[dict[str, Any]], plain: list[dict[str, Any]], flower: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline is the largest cohort with the smaller update."""
    headline = max((row for row in ours if row["parameters"] == PARAMETERS[0]), key=lambda row: row["clients"])
    beside = _same(headline, plain)
    theirs = max((row for row in flower if row["parameters"] == PARAMETERS[0]), key=lambda row: row["clients"])
    as_theirs = _same(theirs, ours)
    names = ("clients", "parameters", "server_cpu_s", "client_cpu_ms")
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "numpy": np.__version__},
        "work": _work(flower),
        "results": {name: headline[name] for name in names}
        | {"secure": ours, "plain": plain, "flower": flower, "grid": _alone("grid", 0, 0)},
        "ratios": {
            "traffic_vs_plain": (headline["bytes_up"] + headline["bytes_down"]) / beside["bytes_up"],
            "upload_vs_plain": headline["bytes_up"] / beside["bytes_up"],
            "server_cpu_vs_plain": headline["server_cpu_s"] / beside["server_cpu_s"],
            "flower_clients": theirs["clients"],
            "flower_server_cpu_vs_ours": theirs["server_cpu_s"] / as_theirs["server_cpu_s"],
            "flower_client_cpu_vs_ours": theirs["client_cpu_ms"] / as_theirs["client_cpu_ms"],
            "flower_traffic_vs_ours": (theirs["bytes_up"] + theirs["bytes_down"])
            / (as_theirs["bytes_up"] + as_theirs["bytes_down"]),
        },
    }


def _work(flower: list[dict[str, Any]]) -> dict[str, Any]:
    from secagg_world import CLIP_NORM, DROPPED, NOISE_MULTIPLIER, USUAL

    largest = max(row["clients"] for row in flower)
    return {
        "dropped": DROPPED,
        "dropped_at": "the masked input's request",
        "tolerated_drop_out": USUAL.drop_out,
        "tolerated_corruption": USUAL.corruption,
        "clip_norm": CLIP_NORM,
        "noise_multiplier": NOISE_MULTIPLIER,
        "cores_used": 1,
        "flower": f"SecAgg+ of the legacy API, up to {largest} clients: as many shares as a client of ours draws "
        "neighbours, our threshold, its default grid of 2^22 in 2^32. The client mod and the workflow's stages in one "
        "process. On a sparse graph its client masks with half as many peers, as those that it draws draw it; it does "
        "not check who its peers are, and adds no noise.",
    }


def _same(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the same cohort and size."""
    return next(each for each in rows if all(each[name] == row[name] for name in ("clients", "parameters")))


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    ratios = report["ratios"]
    lines = [
        *(_line("under masks", row) for row in report["results"]["secure"]),
        *(_line("plain", row) for row in report["results"]["plain"]),
        *(_line("Flower's SecAgg+", row) for row in report["results"]["flower"]),
        f"traffic: {ratios['traffic_vs_plain']:.2f} of a plain update's, {ratios['upload_vs_plain']:.2f} sent",
        f"Flower's with {ratios['flower_clients']} clients: {ratios['flower_server_cpu_vs_ours']:.0f} times the "
        f"server's time, {ratios['flower_client_cpu_vs_ours']:.1f} times a client's, "
        f"{ratios['flower_traffic_vs_ours']:.1f} times the bytes",
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name}, {row['clients']} clients x {row['parameters']}: server {row['server_cpu_s']:.3f} s, client "
        f"{row['client_cpu_ms']:.1f} ms, {row['bytes_up'] / 1000:.1f} kB up, {row['bytes_down'] / 1000:.1f} kB down"
    )


def _alone(measure: str, clients: int, size: int) -> Any:
    """One measure in a process of its own, on one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, __file__, "--measure", measure, "--of", str(clients), str(size)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    return json.loads(run.stdout)


def _secure(clients: int, size: int) -> dict[str, Any]:
    from secagg_world import secure

    return secure(clients, size=size)


def _plain(clients: int, size: int) -> dict[str, Any]:
    from secagg_world import plain

    return plain(clients, size=size)


def _flower(clients: int, size: int) -> dict[str, Any]:
    from secagg_flower import flower

    return flower(clients, size=size)


def _grid(_: int, __: int) -> list[dict[str, Any]]:
    """Bits of a word on the grid that a plan would take."""
    from secagg_world import NOISE_MULTIPLIER, parameters_and_ring

    return [
        {
            "clients": clients,
            "parameters": size,
            "bits": parameters_and_ring(clients, size=size, noise_multiplier=NOISE_MULTIPLIER)[1].bits,
            "bits_without_noise": parameters_and_ring(clients, size=size, noise_multiplier=0.0)[1].bits,
        }
        for clients in GRID_COHORTS
        for size in GRID_SIZES
    ]


_MEASURES: dict[str, Callable[[int, int], Any]] = {
    "secure": _secure,
    "plain": _plain,
    "flower": _flower,
    "grid": _grid,
}

if __name__ == "__main__":
    main()
