"""The model that the other frameworks train in the benchmark of engines: the linear tower and its LoRA, in torch alone.

The same numbers as fedrec's own model, and nothing that multiplies by one or by zero. It runs where fedrec is not
installed.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ITEMS, WIDTH, RANK = 3_600, 384, 16
PARAMETERS = WIDTH * RANK
COHORT = 100
NEGATIVES = 256
SCALE = 3.0
# Half of the light clients are clipped.
LEARNING_RATE = 1.3
CLIP_NORM = 0.5
NOISE_MULTIPLIER = 1.0

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of work. events: a client learns from so many; negatives: 0 for all items."""

    name: str
    events: int
    negatives: int


KINDS = {
    "light": Kind(name="light", events=20, negatives=NEGATIVES),
    "heavy": Kind(name="heavy", events=100, negatives=0),
}


def adapter_of(number: int) -> Floats:
    """(P,) the adapter that a round starts from, the same for every engine."""
    return (0.01 * np.random.default_rng([7, number]).standard_normal(PARAMETERS)).astype(np.float32)


def negatives_of(number: int, kind: Kind) -> Tensor | None:
    """The items that a round's losses share; None for all."""
    if not kind.negatives:
        return None
    return torch.from_numpy(np.random.default_rng(number).choice(ITEMS, size=kind.negatives, replace=False))


class Tower(nn.Module):
    """What a client trains: `b`, (d, r), behind a frozen `a`, (r, d)."""

    def __init__(self, vectors: Floats) -> None:
        super().__init__()
        self.items: Tensor
        self.register_buffer("items", torch.from_numpy(vectors))
        self.a = nn.Linear(WIDTH, RANK, bias=False)
        self.a.weight = nn.Parameter(torch.eye(RANK, WIDTH), requires_grad=False)
        self.b = nn.Linear(RANK, WIDTH, bias=False)
        self.negatives: Tensor | None = None

    def start(self, adapter: Floats, negatives: Tensor | None) -> None:
        """Take over what a round starts from."""
        with torch.no_grad():
            self.b.weight.copy_(torch.from_numpy(adapter).view(WIDTH, RANK))
        self.negatives = negatives

    def loss(self, asked: Tensor, taste: Tensor, targets: Tensor, own: Tensor) -> Tensor:
        """Mean cost of the targets. asked, taste: (P, d); targets: (P,); own: (M,) items that are no negatives."""
        query = SCALE * (asked + self.b(self.a(taste)))
        if self.negatives is None:
            scores = query @ self.items.T
            target = scores.gather(-1, targets[:, None]).squeeze(-1)
            mine = torch.zeros(ITEMS, dtype=torch.bool)
            mine[own] = True
        else:
            target = (query * self.items[targets]).sum(-1)
            scores = query @ self.items[self.negatives].T
            mine = torch.isin(self.negatives, own)
        others = scores.masked_fill(mine, -1e9)
        return (torch.logaddexp(target, others.logsumexp(-1)) - target).mean()

    def metrics(self, *_: Tensor) -> dict[str, Any]:
        """Nothing: what pfl asks of everybody before its first round is not of this work."""
        return {}


def local_update(tower: Tower, data: list[Tensor]) -> Floats:
    """(P,) what one step adds to the adapter that the tower starts from, clipped."""
    (gradient,) = torch.autograd.grad(tower.loss(*data), [tower.b.weight])
    update = (-LEARNING_RATE * gradient).reshape(-1)
    return (update * min(1.0, CLIP_NORM / float(update.norm()))).numpy()


@dataclass(frozen=True, slots=True)
class Problem:
    """The world as tensors. clients: of each kind, what each client's loss takes."""

    vectors: Floats
    clients: dict[str, list[list[Tensor]]]

    @classmethod
    def load(cls, file: Path) -> "Problem":
        """What `engines_world.save_problem` wrote."""
        with np.load(file) as arrays:
            names = ("asked", "taste", "targets", "own")
            clients = {
                kind: [
                    [torch.from_numpy(array) for array in each]
                    for each in zip(*(arrays[f"{kind}_{name}"] for name in names), strict=True)
                ]
                for kind in KINDS
            }
            return cls(arrays["vectors"], clients)


Turn = Callable[[dict[str, Any]], dict[str, Any]]


def serve(turn: Turn) -> None:
    """Answer each line of stdin, a JSON object, with rounds and the memory peak of this process.

    seconds: rounds follow each other for so long, as a simulation runs them; without it there is one.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print must not get among the answers
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        rounds = [turn(asked)]
        while sum(each["seconds"] for each in rounds) < asked.get("seconds", 0):
            rounds.append(turn(asked | {"number": asked["number"] + len(rounds)}))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rounds": rounds, "peak_mib": peak}), file=answers, flush=True)


class Product:
    """What the arithmetic allows: the rate of one large product, and the products that a client's work needs."""

    def __init__(self, world: Path, *, size: int, device: str) -> None:
        self._problem = Problem.load(world)
        self._left, self._right = (torch.randn(size, size, device=device) for _ in range(2))

    def turn(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The time of a product, or with `count` the operations of one client's step."""
        if asked.get("count"):
            return {"seconds": 0.0, "flop": self._count(KINDS[asked["kind"]])}
        began, spent = time.perf_counter(), time.process_time()
        float((self._left @ self._right)[0, 0])  # a GPU is waited for
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent}

    def _count(self, kind: Kind) -> int:
        from torch.utils.flop_counter import FlopCounterMode

        tower = Tower(self._problem.vectors)
        tower.start(adapter_of(1), negatives_of(1, kind))
        with FlopCounterMode(display=False) as counter:
            local_update(tower, self._problem.clients[kind.name][0])
        return counter.get_total_flops()
