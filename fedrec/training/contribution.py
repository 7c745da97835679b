"""What a client of `central` mode contributes: bounded vectors, to be noised by the server."""

from collections.abc import Sequence

import numpy as np

from fedrec.config import TrainingConfig
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.mechanism import Doubles, clip_update
from fedrec.privacy.plan import UNIT_NORM, PrivacyPlan
from fedrec.training.blocks import METRICS
from fedrec.training.examples import Example
from fedrec.training.learner import Learner, LocalTask

# A loss above it counts as it: twice what a uniform guess over this many items costs.
LARGEST_LOSS = 2 * float(np.log(100_000))


def clipped_update(
    learner: Learner, examples: Sequence[Example], task: LocalTask, training: TrainingConfig, plan: PrivacyPlan
) -> FlatAdapter:
    """(P,) or (P + 4,) float32: the update at norm at most `clip_norm`, then the metrics if the plan releases them.

    A client without examples contributes zeros.
    """
    update = learner.update(examples, task, training)
    blocks: list[Doubles] = [clip_update(update, clip_norm=plan.clip_norm)]
    if plan.metrics_noise is not None:
        clipped = float(np.linalg.norm(update) > plan.clip_norm)
        blocks.append(metrics_of(learner, examples, task.adapter, clipped=clipped))
    return np.concatenate(blocks).astype(np.float32)


def metrics_of(learner: Learner, examples: Sequence[Example], adapter: FlatAdapter, *, clipped: float) -> Doubles:
    """(4,) loss, hit rate at 10, clip fraction and a 1 for being counted, at norm at most 1.

    Of the adapter as the round received it, on what the client trains on. Zeros without examples.
    """
    values = np.zeros(len(METRICS))
    if examples:
        loss, rate = learner.quality(examples, adapter)
        values[:] = (np.clip(loss / LARGEST_LOSS, 0.0, 1.0), rate, clipped, 1.0)
    # Four entries of at most 1 have norm at most 2.
    return clip_update(values / len(METRICS) ** 0.5, clip_norm=UNIT_NORM)


def released_metrics(noised: Doubles, *, noise_std: float) -> dict[str, dict[str, float]] | None:
    """Means over the counted clients, each with the standard deviation of its noise, from the noised sum.

    noise_std: of each entry of that sum. None where the noise left no count to divide by.
    Post-processing: it costs nothing more.
    """
    scale = len(METRICS) ** 0.5
    counted = float(noised[-1] * scale)
    if counted < 1:
        return None
    ranges = (LARGEST_LOSS, 1.0, 1.0)
    return {
        name: {
            "value": largest * float(np.clip(entry * scale / counted, 0.0, 1.0)),
            "noise_std": largest * noise_std * scale / counted,
        }
        for name, entry, largest in zip(METRICS, noised, ranges, strict=False)
    }


def popularity_vector(examples: Sequence[Example], *, catalogue: int, items: int) -> FlatAdapter:
    """(N,) float32: the latest `items` distinct positives of a user, at norm at most 1.

    Each weighs the same whoever holds it, so that the sum is a scaled count of users.
    """
    vector = np.zeros(catalogue, dtype=np.float32)
    latest = [int(row) for example in examples for row in example.targets[example.aims > 0][::-1]]
    vector[list(dict.fromkeys(latest))[:items]] = items**-0.5
    return clip_update(vector, clip_norm=UNIT_NORM).astype(np.float32)


def released_prior(noised: Doubles, *, items: int, noise_std: float) -> FlatAdapter:
    """(N,) float32 log popularity from the noised sum of `popularity_vector`.

    Counts are measured in units of their noise, so that what noise alone makes stays near 0.
    """
    scale = items**0.5
    counts = np.maximum(0.0, noised * scale)
    prior: FlatAdapter = np.log1p(counts / max(1.0, noise_std * scale)).astype(np.float32)
    return prior
