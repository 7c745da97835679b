"""What a batch of torch calls reaches with nothing around it: no ragged histories, no ledger, no server.

The same step and the same sum. What histories ask for is summed beforehand, and everybody is before the same places:
it is here to say what of a machine's rate calls of this size reach at all, and what an engine pays for the rest.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engines_model import (
    CLIP_NORM,
    COHORT,
    ITEMS,
    KINDS,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    PARAMETERS,
    RANK,
    SCALE,
    WIDTH,
    Problem,
    adapter_of,
    negatives_of,
)
from torch import Tensor

# Clients in a block at most: on two cores the fastest among 25, 50 and 100 light ones, and 2, 5, 10 and 25 heavy ones.
BLOCKS = {"light": 50, "heavy": 5}


class Bare:
    """All clients of a round, a block of them on each core at a time."""

    def __init__(self, world: Path) -> None:
        problem = Problem.load(world)
        self._items = torch.from_numpy(problem.vectors)
        self._clients = {
            kind: [torch.stack(each) for each in zip(*clients, strict=True)]
            for kind, clients in problem.clients.items()
        }
        # In the basis of the frozen `a`, which is the first axes.
        self._lows = {kind: clients[1][..., :RANK].contiguous() for kind, clients in self._clients.items()}
        threads = torch.get_num_threads()
        self._sizes = {kind: min(most, -(-COHORT // threads)) for kind, most in BLOCKS.items()}
        self._workers = ThreadPoolExecutor(threads)
        torch.set_num_threads(1)

    def turn(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One round. asked: kind, number; save: where its sum before the noise goes."""
        kind, number = asked["kind"], asked["number"]
        adapter, negatives = adapter_of(number), negatives_of(number, KINDS[kind])
        began, spent = time.perf_counter(), time.process_time()
        b = torch.from_numpy(adapter).view(WIDTH, RANK)
        some = torch.arange(ITEMS) if negatives is None else negatives
        others = self._items if negatives is None else self._items[negatives]
        place = torch.full((ITEMS,), len(some))
        place[some] = torch.arange(len(some))
        size = self._sizes[kind]
        blocks = [slice(start, start + size) for start in range(0, COHORT, size)]
        sums = self._workers.map(lambda block: self._block(kind, block, b, others, place), blocks)
        total = torch.stack(list(sums)).sum(0)
        total + torch.normal(0.0, NOISE_MULTIPLIER * CLIP_NORM, (PARAMETERS,))
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        if asked.get("save"):
            np.save(asked["save"], total.double().numpy())
        return {"seconds": seconds, "cpu": cpu}

    def _block(self, kind: str, block: slice, b: Tensor, others: Tensor, place: Tensor) -> Tensor:
        """(P,) the sum of some clients' clipped updates."""
        asked, _, targets, own = (each[block] for each in self._clients[kind])
        low = self._lows[kind][block]
        clients, positions, _ = asked.shape
        query = (SCALE * asked).flatten(0, 1).addmm_(low.flatten(0, 1), b.T, alpha=SCALE)
        aimed = self._items[targets.flatten()]
        scores = query.new_empty((len(query), len(others) + 1))
        torch.mm(query, others.T, out=scores[:, :-1])
        scores[:, -1] = (query * aimed).sum(-1)
        scores = scores.view(clients, positions, -1)
        places = place[own]
        whose, which = (places < len(others)).nonzero(as_tuple=True)
        scores[whose, :, places[whose, which]] = -torch.inf
        likely = torch.softmax(scores, dim=-1)
        right = low * (-LEARNING_RATE * SCALE / positions)
        pulled = ((right.mT @ likely[..., :-1]).flatten(0, 1) @ others).view(clients, RANK, WIDTH)
        pulled.baddbmm_((right * (likely[..., -1:] - 1)).mT, aimed.view(clients, positions, WIDTH))
        updates = pulled.flatten(1)
        clipped = (CLIP_NORM / updates.norm(dim=1).clamp(min=CLIP_NORM)) @ updates
        return clipped.view(RANK, WIDTH).T.flatten()
