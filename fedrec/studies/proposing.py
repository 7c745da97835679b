"""Which settings a study tries: all of a grid, or some at random."""

from itertools import product
from typing import Any

import numpy as np

from fedrec.studies.study import Range, Settings, Study


def settings_of(study: Study) -> list[Settings]:
    """All settings of a grid, or as many as a random study tries: known before the first run."""
    if study.config.how == "grid":
        lists = {name: each for name, each in study.choices.items() if isinstance(each, tuple)}
        return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    draw = np.random.default_rng(study.config.seed)
    return [{name: _drawn(each, draw) for name, each in study.choices.items()} for _ in range(study.config.trials)]


def _drawn(choice: tuple[Any, ...] | Range, draw: np.random.Generator) -> Any:
    if isinstance(choice, tuple):
        return choice[int(draw.integers(len(choice)))]
    low, high = (np.log((choice.low, choice.high))) if choice.log else (choice.low, choice.high)
    if choice.whole and not choice.log:
        return int(draw.integers(int(low), int(high), endpoint=True))
    value = float(draw.uniform(low, high))
    value = float(np.clip(np.exp(value), choice.low, choice.high)) if choice.log else value
    return round(value) if choice.whole else value
