"""How well the other heads do on the held-out entries: AUC and F1 of intent, RMSE of ratings."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fedrec.data.sequences import Floats, History, Ints
from fedrec.data.splits import Split
from fedrec.evaluation.labels import auc, f1, rmse
from fedrec.evaluation.metrics import Estimate
from fedrec.evaluation.protocol import held_out, held_out_users, sampled


class Predictor(Protocol):
    """Predicts, for one item per history, the probability of intent and the rating."""

    def predictions(self, histories: Sequence[History], rows: Ints) -> tuple[Floats, Floats]:
        """(B,) and (B,) float32; rows: (B,)."""
        ...


def evaluate_heads(
    predictor: Predictor,
    split: Split,
    *,
    heads: Sequence[str],
    test: bool,
    seed: int,
    sample: int = 0,
    batch: int = 256,
) -> dict[str, Estimate]:
    """`intent_auc`, `intent_f1` and `rating_rmse` of the trained heads, over held-out entries with a label.

    heads: which are trained; a head whose labels cannot be scored (none, or all alike) is left out.
    sample: how many users are scored, as in `evaluate`.
    """
    users = sampled(held_out_users(split, test=test), sample, seed=seed)
    found = [
        predictor.predictions(held.histories, held.targets) for held in held_out(split, users, test=test, batch=batch)
    ]
    intent, rating = (np.concatenate([part[head] for part in found]) for head in (0, 1))
    at = split.sequences.offsets[users] + (split.test_at if test else split.validation_at)[users]
    meant, rated = split.sequences.entries.intents[at], split.sequences.entries.ratings[at]
    metrics: dict[str, Estimate] = {}
    if "intent" in heads and {0.0, 1.0} <= set(meant[~np.isnan(meant)].tolist()):
        known = ~np.isnan(meant)
        metrics["intent_auc"] = auc(intent[known], meant[known], users[known], seed=seed)
        metrics["intent_f1"] = f1(intent[known], meant[known], users[known], seed=seed)
    if "rating" in heads and not np.isnan(rated).all():
        known = ~np.isnan(rated)
        metrics["rating_rmse"] = rmse(rating[known], rated[known], users[known], seed=seed)
    return metrics
