"""Print what a sampled softmax spares, and how far its gradient is from the full one's: measured, and bounded.

Every client's gradient at the heavy work of `engines.py`, or at the histories of MovieLens: over all items, and over
some that many draws choose, with and without the logQ correction.
"""

import argparse
import itertools
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engines_model import KINDS, adapter_of
from engines_world import workbench
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fedrec.config import AdapterConfig, TrainingConfig
from fedrec.config_file import load_scenario
from fedrec.data.importers.movielens import import_movielens
from fedrec.model.layout import FlatAdapter
from fedrec.training.cohort_model import CohortModel
from fedrec.training.cohort_step import Steps
from fedrec.training.examples import MOST_ENTRIES
from fedrec.training.histories import Histories
from fedrec.training.learner import shared_negatives
from fedrec.training.padding import Padded
from fedrec.training.scoring import leave_out_own_
from fedrec.training.workbench import Workbench, open_workbench

RECIPE = Path(__file__).parents[1] / "movielens_small.toml"
SIZES = (64, 256, 1024)
RANK = 16
CLIENTS = 100
DRAWS = 400
QUICK_DRAWS = 20
# Of Z that a draw reaches: a bound is found with each, and the least is taken.
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Of a squared distance that is a difference of squares.
_ROUNDINGS = 32


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="?", help="folder of ml-latest-small; the heavy work without it")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="few draws")
    options = parser.parse_args()
    bench = of_movielens(options.source) if options.source else workbench(KINDS["heavy"])
    report = measured(bench, draws=QUICK_DRAWS if options.quick else DRAWS)
    print(json.dumps(report, indent=2) if options.json else text(report))


def of_movielens(source: Path) -> Workbench:
    """Its people and items before the recipe's model, with an adapter of a low rank on the history."""
    scenario = replace(load_scenario(RECIPE), adapter=AdapterConfig(ranks={"history_proj": RANK}))
    with tempfile.TemporaryDirectory() as folder:
        import_movielens(source, out=Path(folder) / "data")
        return open_workbench(scenario, Path(folder) / "data")


def measured(bench: Workbench, *, draws: int) -> dict[str, Any]:
    """The whole report."""
    gradients = Gradients(bench, range(min(CLIENTS, len(bench.members))))
    items = len(gradients.model.items)
    full = gradients.flop(gradients.training) / 1e6
    sizes = [size for size in SIZES if size < items]
    results = []
    for size, corrected in itertools.product(sizes, (False, True)):
        results.append(gradients.compared(size, corrected=corrected, draws=draws))
        print(f"\r{len(results)} of {2 * len(sizes)} comparisons", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "work": {"items": items, "clients": gradients.clients, "draws": draws, "rank": RANK},
        "results": {"full_mflop": full, "sampled": results},
        "ratios": {f"operations of the full one / at {each['negatives']}": full / each["mflop"] for each in results},
    }


class Gradients:
    """Each client's gradient of its mean loss at one adapter, (C, P), through the cohort engine's own steps."""

    def __init__(self, bench: Workbench, clients: Sequence[int]) -> None:
        scenario = bench.scenario
        self.training = replace(scenario.training, learning_rate=1.0, steps=1, negatives=0)
        oldest = scenario.model.window + max(MOST_ENTRIES, scenario.training.positions)
        # As the engine makes it for either loss.
        self.full, self.model = (
            CohortModel.of(bench.model, oldest=oldest, dtype=torch.float64, device="cpu", sampled=sampled)
            for sampled in (False, True)
        )
        members = [bench.members[client] for client in clients]
        histories = Histories.of(bench.split, members, bench.shape, self.model.padding({"next_item": 1.0}), keep=True)
        self.clients = len(clients)
        self._batches = [
            histories.batch(np.arange(start, min(start + 10, len(clients)))) for start in range(0, len(clients), 10)
        ]
        self._adapter = _start(self.model.layout.size)
        self._full = self._of(self._steps(self.training, seed=0))

    def compared(self, negatives: int, *, corrected: bool, draws: int) -> dict[str, Any]:
        """Distances from the full gradients in parts of these: root mean squares over clients.

        bias: once what the mean of so many draws is off by itself, `unseen`, is taken off, at least 0. cohort: what one
        draw's mean over clients is off, in parts of that mean. within_bound: of how many clients the mean over draws
        is off by no more than their bound and twice what it is off by itself.
        """
        training = replace(self.training, negatives=negatives, logq_correction=corrected)
        total, squares, of_mean = torch.zeros_like(self._full), torch.zeros(self.clients, dtype=torch.float64), 0.0
        for seed in range(draws):
            off = self._of(self._steps(training, seed=seed)) - self._full
            total += off
            squares += off.square().sum(1)
            of_mean += float(off.mean(0).square().sum())
        lengths = self._full.norm(dim=1)
        scatter = (squares - total.square().sum(1) / draws) / (draws - 1)
        # What is left of the square of the mean's distance once that of so few draws is taken off.
        bias = (total / draws).square().sum(1) - scatter / draws
        bounds = torch.cat([bias_bounds(self.model, batch, self._adapter, training) for batch in self._batches])
        return {
            "negatives": negatives,
            "logq_correction": corrected,
            "mflop": self.flop(training) / 1e6,
            "bias": _root((bias / lengths**2).mean()),
            "unseen": _root((scatter / draws / lengths**2).mean()),
            "one_draw": _root((squares / draws / lengths**2).mean()),
            "cohort": math.sqrt(of_mean / draws) / float(self._full.mean(0).norm()),
            "bound": _root((bounds / lengths).square().mean()),
            "within_bound": int((total.norm(dim=1) / draws <= bounds + 2 * (scatter / draws).sqrt()).sum()),
        }

    def flop(self, training: TrainingConfig) -> float:
        """Counted floating-point operations of a client's gradient."""
        with FlopCounterMode(display=False) as counter:
            self._of(self._steps(training, seed=0))
        return counter.get_total_flops() / self.clients

    def _steps(self, training: TrainingConfig, *, seed: int) -> Steps:
        return steps_of(self.model if training.negatives else self.full, training, self._adapter, seed=seed)

    def _of(self, steps: Steps) -> Tensor:
        return -torch.cat([steps.plain(batch) for batch in self._batches])


def steps_of(model: CohortModel, training: TrainingConfig, adapter: FlatAdapter, *, seed: int) -> Steps:
    """The steps of a round whose negatives a seed draws."""
    rows = shared_negatives(len(model.items), training.negatives, seed)
    others = model.others(
        None if rows is None else torch.from_numpy(rows), log_weight=training.log_weight(len(model.items))
    )
    return Steps.of(model, training, others, adapter)


def bias_bounds(model: CohortModel, batch: Padded, adapter: FlatAdapter, training: TrainingConfig) -> Tensor:
    """(C,) what the norm of the bias of each client's gradient is at most.

    For a model whose `history_proj` alone is trained, `b` in it: the gradient is a sum over positions of outer products
    of what pulls at the query with what the module read, and the norm of a sum is at most the sum of norms.
    """
    others = model.others(None)
    given = model.forward(batch, Steps.of(model, training, others, adapter).shared)
    scores = model._scores(batch, given, others)
    leave_out_own_(scores, batch, others)
    read = given.lows["history_proj"].norm(dim=-1)
    each = (position_bounds(scores, model.items, model.items[batch.targets], training) * read * batch.aimed).sum(1)
    return (
        training.heads["next_item"] * batch.owners.per_client(each) / torch.from_numpy(batch.owners.counts).clamp(min=1)
    )


def position_bounds(scores: Tensor, items: Tensor, targets: Tensor, training: TrainingConfig) -> Tensor:
    """(...) a bound on the bias of the gradient with respect to the query. scores: (..., N + 1), the target's last.

    Let x be the exponentials of the scores of N items, 0 of own positives, w that of the target, c = N / S, and w' = w
    with the logQ correction, c w without. A draw of S items estimates Z = w' + sum x by Z' = w' + c sum x, and
    A = sum x (v - v_target) by A', both without bias. The gradient that many negatives lead to is g = A / Z, and
    A' - g Z' has mean 0; so

        E[A' / Z'] - g = E[(A' - g Z') (1 / Z' - 1 / Z)] = E[(A' - g Z') (Z - Z') / (Z' Z)].

    Where Z' >= t Z, that is at most sd(A' - g Z') sd(Z') / (t Z^2) by Cauchy and Schwarz, of order 1 / S; both are of
    sums over a draw without replacement. Elsewhere it is (A' / Z' - g) (1 - Z' / Z): the first no longer than the
    longest v - v_target - g, as it lies in their convex hull, the second from 0 to 1. That has a probability of at
    most exp(-(1 - t)^2 S Z^2 / (2 N sum x^2)) (Maurer 2003, J. Inequal. Pure Appl. Math. 4:15; Hoeffding 1963, section
    6, for draws without replacement). The least over t, and what g itself is off: nothing with the correction. The
    idea is that of Rawat et al. 2019, arXiv:1907.10747. What squares may have lost to rounding is added to them.
    """
    count = len(items)
    size = min(training.negatives, count)
    most = scores.amax(-1, keepdim=True)
    x, w = (scores[..., :-1] - most).exp(), (scores[..., -1] - most.squeeze(-1)).exp()
    pull = x @ items - x.sum(-1, keepdim=True) * targets
    exact = pull / (w + x.sum(-1)).unsqueeze(-1)
    limit = count / size * math.exp(-training.log_weight(count)) * w
    whole = limit + x.sum(-1)
    gradient = pull / whole.unsqueeze(-1)
    centre = targets + gradient
    distances = items.square().sum(-1) - 2 * centre @ items.T + centre.square().sum(-1, keepdim=True)
    largest = items.square().sum(-1).max() + centre.square().sum(-1)
    rounding = _ROUNDINGS * torch.finfo(scores.dtype).eps * largest
    mean = gradient * (limit / count).unsqueeze(-1)
    of_sums = ((x.square() * distances).mean(-1) - mean.square().sum(-1)).clamp(min=0)
    of_sums += rounding * x.square().mean(-1)
    spread = count**2 / size * (count - size) / max(count - 1, 1)
    likely = spread * (of_sums * x.var(-1, correction=0)).sqrt() / whole.square()
    longest = (distances.amax(-1).clamp(min=0) + rounding).sqrt().maximum(gradient.norm(dim=-1))
    rare = size * whole.square() / (2 * count * x.square().sum(-1))
    bounds = [likely / t + longest * (-((1 - t) ** 2) * rare).exp() for t in _SHARES]
    # No draw comes to less than that of the smallest.
    least = limit + count / size * x.topk(size, largest=False).values.sum(-1)
    return torch.stack([*bounds, likely * whole / least, longest]).amin(0) + (gradient - exact).norm(dim=-1)


def _root(square: Tensor) -> float:
    return float(square.clamp(min=0).sqrt())


def _start(size: int) -> FlatAdapter:
    """Of the benchmark of engines where it fits."""
    start = adapter_of(1)
    return start if len(start) == size else (0.01 * np.random.default_rng(7).standard_normal(size)).astype(np.float32)


def text(report: dict[str, Any]) -> str:
    """For people."""
    work, results = report["work"], report["results"]
    lines = [f"{work['clients']} clients, {work['items']} items; the full softmax: {results['full_mflop']:.1f} MFLOP"]
    for each in results["sampled"]:
        name = "logQ" if each["logq_correction"] else "plain"
        lines.append(
            f"{each['negatives']:5d} {name:5s}: {each['mflop']:.1f} MFLOP; of the gradient's norm: bias "
            f"{each['bias']:.3f} (over {each['unseen']:.3f}), at most {each['bound']:.3f}; "
            f"one draw {each['one_draw']:.3f}, of the cohort's mean {each['cohort']:.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
