"""The noise on the popularity and the metrics that `central` mode releases, in the real rounds.

Nobody has done anything, so that whatever is above zero is noise: a half of it, as counts
under zero are cut off.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats

from fedrec.audit.checks import Check
from fedrec.audit.crowd import METRICS_NOISE, POPULARITY, nothing, witness
from fedrec.audit.noise import CHANCE, size_check
from fedrec.data.sequences import Bools, Floats
from fedrec.privacy.mechanism import Doubles
from fedrec.training.blocks import METRICS

# Sound noise leaves a given item without popularity in all runs with probability 2^-40.
_RUNS, _ITEMS, _CLIENTS = 40, 500, 2


def popularity_checks() -> Iterator[Check]:
    """How large, and how often above zero, the released noise of a silent crowd is."""
    runs = [witness("central", [nothing] * _CLIENTS, items=_ITEMS, rounds=1) for _ in range(_RUNS)]
    noise = np.stack([np.zeros(_ITEMS) if run.prior is None else _uncut(run.prior) for run in runs])
    accounted = max((_noise_std(event) for event in runs[0].events if event["kind"] == "popularity"), default=np.inf)
    above = noise > 0
    yield _share("popularity_cut", "of items that noise alone makes popular", above.ravel(), 0.5)
    uncut = noise[above] if above.any() else np.zeros(1)
    yield size_check("popularity_noise", uncut / accounted, of="the noise on popularity")
    silent = int((~above.any(0)).sum())
    what = f"number of items that noise never makes popular in {_RUNS} releases"
    yield Check(name="popularity_items", what=what, found=silent, low=0, high=0)
    counted = np.array([run.records[0]["released_metrics"] is not None for run in runs])
    # They are released when the noised count of clients, in units of its scale, is at least 1.
    chance = float(stats.norm.sf(1 / (METRICS_NOISE * len(METRICS) ** 0.5)))
    yield _share("metrics_released", "of rounds whose noise alone makes a count to release metrics by", counted, chance)


def _uncut(prior: Floats) -> Doubles:
    """The noised sum behind a released prior, where it is above zero: `released_prior` turned round."""
    scale = math.sqrt(POPULARITY.items)
    counts: Doubles = np.expm1(prior.astype(np.float64)) * max(1.0, POPULARITY.noise_multiplier * scale)
    return counts / scale


def _noise_std(event: Mapping[str, Any]) -> float:
    """Of the noise that an entry of the ledger claims."""
    return float(event["noise_multiplier"] * event["clip_norm"])


def _share(name: str, of: str, heads: Bools, probability: float) -> Check:
    low, high = stats.binom.interval(1 - CHANCE, len(heads), probability)
    size = len(heads)
    return Check(
        name=name, what=f"share {of}", found=float(heads.mean()), low=float(low) / size, high=float(high) / size
    )
