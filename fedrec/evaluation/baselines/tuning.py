"""Choosing a baseline's settings by NDCG@10 on the validation item, never on the test item."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.data.splits import Split
from fedrec.errors import ConfigError
from fedrec.evaluation.metrics import ndcg
from fedrec.evaluation.protocol import Scorer, held_out_ranks, held_out_users

Choice = dict[str, Any]
Make = Callable[[Choice], Scorer]

TUNING_USERS = 4096
_SWEEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The scorer of the best settings, those settings, and how many settings were tried."""

    scorer: Scorer
    choice: Choice
    tried: int


def tune(make: Make, grid: Mapping[str, Sequence[Any]], split: Split, *, seed: int) -> Tuned:
    """Try one setting after the other, twice over, and keep the best NDCG@10 on validation.

    grid: the values of each setting; the first of each is the start, and the earlier of two
    equals is kept. A grid of one setting is searched whole. Populations above 4,096
    users are tuned on a seeded sample of that size.
    Raises ConfigError for a setting without values.
    """
    if not all(grid.values()):
        raise ConfigError("A setting to tune has no values. Give each at least one.")
    users = _sample(held_out_users(split, test=False), seed)
    seen: dict[str, float] = {}

    def quality(choice: Choice) -> float:
        key = repr(sorted(choice.items()))
        if key not in seen:
            ranks = held_out_ranks(make(choice), split, users, test=False, batch=1024)
            seen[key] = float(ndcg(ranks, 10).mean())
        return seen[key]

    best: Choice = {name: values[0] for name, values in grid.items()}
    for _ in range(_SWEEPS if len(grid) > 1 else 1):
        for name, values in grid.items():
            # max keeps the first of equals, so the value in force wins a tie.
            best = max([best, *({**best, name: value} for value in values)], key=quality)
    return Tuned(scorer=make(best), choice=best, tried=max(len(seen), 1))


def _sample(users: Ints, seed: int) -> Ints:
    if len(users) <= TUNING_USERS:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, TUNING_USERS, replace=False))
