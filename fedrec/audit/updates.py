"""How far one client of `central` mode can move what is noised, whether it is honest or not."""

from dataclasses import replace

import numpy as np

from fedrec.audit import broken
from fedrec.audit.bench import audited_plan
from fedrec.audit.canaries import draw_canaries
from fedrec.audit.neighbours import QuietSource
from fedrec.audit.path import observe
from fedrec.audit.replacing import replaced
from fedrec.privacy import randomness
from fedrec.privacy.plan import PopularityRelease
from fedrec.training import contribution
from fedrec.training.aggregation import UpdateSum
from fedrec.training.blocks import Task, blocks_of, total_size

_CLIENTS = 8
_OUTRAGEOUS = 1e6
_ITEMS = 50


def client_movement(seed: int) -> float:
    """How far zeroing out one client's far too long update moves the noised sums, in clip norms."""
    canaries = draw_canaries(seed, count=_CLIENTS)
    longest = int(np.flatnonzero(canaries.groups["far over the clip norm"])[0])
    others = [canary for canary in range(_CLIENTS) if canary != longest]
    with replaced(randomness, "system_source", QuietSource):
        whole = observe("central", canaries.with_only(longest, *others), seed=seed)
        without = observe("central", canaries.with_only(*others), seed=seed)
    return float(np.linalg.norm(whole.releases - without.releases))


def hostile_movement(seed: int) -> float:
    """The same of a client that does not clip."""
    with replaced(contribution, "clip_update", broken.unclipped):
        return client_movement(seed)


def longest_reply(seed: int) -> float:
    """The norm of the longest reply that honest clients send, in clip norms."""
    canaries = draw_canaries(seed, count=_CLIENTS)
    return observe("central", canaries.with_only(*range(_CLIENTS)), seed=seed).longest_reply


def block_movement() -> float:
    """How far an outrageous reply moves each block of a sum (update, metrics, popularity), in its bounds."""
    popularity = PopularityRelease(items=10, noise_multiplier=4.0)
    plan = replace(audited_plan("central"), metrics_noise=4.0, popularity=popularity)
    tasks: tuple[Task, ...] = ("update", "popularity")
    moved = []
    for task in tasks:
        blocks = blocks_of(plan, task, size=_ITEMS)
        total = UpdateSum(_ITEMS, blocks=blocks)
        total.add(np.full(total_size(blocks), _OUTRAGEOUS, dtype=np.float32))
        parts = np.split(total.value, np.cumsum([block.size for block in blocks])[:-1])
        # A block without a bound is held to none by the server: that must show.
        moved += [
            float(np.linalg.norm(part)) / (block.clip_norm or 1.0) for block, part in zip(blocks, parts, strict=True)
        ]
    return max(moved)
