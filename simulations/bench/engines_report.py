"""What the benchmark of engines says of its rounds."""

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import numpy as np
from engines_model import COHORT, ITEMS, KINDS, NEGATIVES, RANK, WIDTH, Doubles
from engines_worker import Worker

PRODUCT = 2048
# The engines, and the settings in which some are tried; the best at a kind of work counts.
SETTINGS = {
    "cohort": ("cohort",),
    "bare": ("bare",),
    "reference": ("reference", "reference_1"),
    "flower_ray": ("flower_ray",),
    "pfl": ("pfl_1", "pfl_2"),
}
BF16 = "cohort_bf16"
_SHORT = {"flower_ray": "ray", "pfl": "pfl", "reference": "reference", "bare": "bare"}
_Rates = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that was measured.

    turns: of each engine that counted, by kind. flop: of a round, of the `product` one client's work. sums: before the
    noise, of each kind and setting.
    """

    workers: Mapping[str, Worker]
    turns: Mapping[str, int]
    flop: Mapping[str, Mapping[str, int]]
    sums: Mapping[tuple[str, str], Doubles]
    left_out: Mapping[str, str]
    device: str

    def report(self) -> dict[str, Any]:
        """One JSON object. Rates by processor time, too, which what else the machine does changes less."""
        each, by_cpu = self._rates(lambda worker: worker.seconds, median), self._rates(lambda worker: worker.cpu, mean)
        product = self._product(lambda worker: worker.seconds, median)
        needed = {kind: self.flop["product"][kind] for kind in self.turns}
        return {
            "machine": {
                "cores": os.cpu_count(),
                "processor": platform.machine(),
                "device": self.device,
                "numpy": np.__version__,
                "load": os.getloadavg()[0],
            },
            "work": self._work(),
            "results": {
                "clients_per_s": self._best(each),
                "clients_per_s_by_setting": each,
                "clients_per_cpu_s_by_setting": by_cpu,
                "clients_per_s_in_the_fastest_round": self._rates(lambda worker: worker.seconds, min),
                "limit_clients_per_s": {kind: product / needed[kind] for kind in self.turns},
                "product_gflop_per_s": product / 1e9,
                "mflop_per_client": {"work": {kind: needed[kind] / 1e6 for kind in self.turns}}
                | {
                    name: {kind: self.flop[name][kind] / COHORT / 1e6 for kind in self.turns}
                    for name in self.flop
                    if name != "product"
                },
                "peak_mib": {name: worker.peak_mib for name, worker in self.workers.items() if name != "product"},
                "max_difference": self._max_difference(),
                "bf16_difference": self._bf16_difference(),
                "largest_of_the_sum": {kind: float(np.abs(total).max()) for (kind, _), total in self.sums.items()},
                "left_out": dict(self.left_out),
            },
            "ratios": self._ratios(self._best(each), product)
            | {
                f"{name}_by_cpu": ratio
                for name, ratio in self._ratios(
                    self._best(by_cpu), self._product(lambda worker: worker.cpu, mean)
                ).items()
            },
        }

    def _work(self) -> dict[str, Any]:
        return {
            "cohort": COHORT,
            "items": ITEMS,
            "width": WIDTH,
            "rank": RANK,
            "negatives": NEGATIVES,
            "kinds": {name: {"events": kind.events, "scored": kind.negatives or ITEMS} for name, kind in KINDS.items()},
            "turns": dict(self.turns),
            "rounds": {
                name: {kind: len(times) for kind, times in worker.seconds.items()}
                for name, worker in self.workers.items()
            },
        }

    def _rates(
        self, times_of: Callable[[Worker], dict[str, list[float]]], typical: Callable[[list[float]], float]
    ) -> _Rates:
        return {
            name: {kind: COHORT / typical(times) for kind, times in times_of(worker).items()}
            for name, worker in self.workers.items()
            if name != "product"
        }

    def _product(
        self, times_of: Callable[[Worker], dict[str, list[float]]], typical: Callable[[list[float]], float]
    ) -> float:
        """Operations a second of one large product."""
        times = [time for each in times_of(self.workers["product"]).values() for time in each]
        return 2 * PRODUCT**3 / typical(times)

    def _best(self, each: _Rates) -> _Rates:
        return {
            engine: {kind: max(each[name][kind] for name in names if name in each) for kind in self.turns}
            for engine, names in SETTINGS.items()
            if any(name in each for name in names)
        }

    def _max_difference(self) -> float | None:
        """Of any engine's sum to the reference engine's."""
        if not any(name == "reference" for _, name in self.sums):
            return None
        return max(
            float(np.abs(total - self.sums[kind, "reference"]).max())
            for (kind, name), total in self.sums.items()
            if name != BF16
        )

    def _bf16_difference(self) -> dict[str, float]:
        """Of the sum with products in bf16 to the cohort engine's own, by the norm of that, of each kind."""
        return {
            kind: float(np.linalg.norm(total - self.sums[kind, "cohort"]) / np.linalg.norm(self.sums[kind, "cohort"]))
            for (kind, name), total in self.sums.items()
            if name == BF16
        }

    def _ratios(self, rates: _Rates, product: float) -> dict[str, float]:
        """Of the cohort engine to the others, and to what the arithmetic allows of the work and of its own products."""
        if "cohort" not in rates:
            return {}
        ours, ratios = rates["cohort"], {}
        for kind in self.turns:
            for other in _SHORT.keys() & rates.keys():
                ratios[f"cohort_vs_{_SHORT[other]}_{kind}"] = ours[kind] / rates[other][kind]
            ratios[f"{kind}_share_of_limit"] = ours[kind] * self.flop["product"][kind] / product
            if "bare" in rates:
                ratios[f"{kind}_share_of_limit_bare"] = rates["bare"][kind] * self.flop["product"][kind] / product
            ratios[f"{kind}_share_of_own_products"] = ours[kind] * self.flop["cohort"][kind] / COHORT / product
        return ratios


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    found = report["results"]
    lines = [
        f"{name}: {rates['light']:.0f} light, {rates['heavy']:.0f} heavy clients/s, "
        f"{found['peak_mib'][name]['heavy']:.0f} MiB"
        for name, rates in found["clients_per_s_by_setting"].items()
    ]
    limit = found["limit_clients_per_s"]
    lines.append(
        f"limit: {limit['light']:.0f} light, {limit['heavy']:.0f} heavy clients/s, at "
        f"{found['product_gflop_per_s']:.0f} GFLOP/s"
    )
    if found["max_difference"] is not None:
        lines.append(f"greatest difference of a sum: {found['max_difference']:.1e}")
    lines += [f"{name}: {value:.2f}" for name, value in sorted(report["ratios"].items())]
    lines += [f"{name} is left out: {why}" for name, why in found["left_out"].items()]
    return "\n".join(lines)
