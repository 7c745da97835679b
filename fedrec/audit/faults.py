"""Faults to put into the real path, one at a time: the audit must catch every one of them.

Each replaces parts of the deployed code and names the detector that must notice: noise
canaries cannot see a coupled loss, and neighbouring data cannot see missing noise.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from fedrec.audit import broken
from fedrec.audit.replacing import replaced
from fedrec.errors import ConfigError
from fedrec.privacy import randomness
from fedrec.privacy.randomness import RandomSource
from fedrec.secagg import ring
from fedrec.secagg.skellam import Skellam
from fedrec.training import aggregation, client, contribution, dp_sgd, examples, local, server_round

CANARIES: Literal["canaries"] = "canaries"
NEIGHBOURS: Literal["neighbouring data"] = "neighbouring data"


@dataclass(frozen=True, slots=True)
class Part:
    """`owner.name` becomes `broken`."""

    owner: Any
    name: str
    broken: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """what: in words. detector: what must notice it. parts: together they make it, in any mode."""

    what: str
    detector: Literal["canaries", "neighbouring data"]
    parts: tuple[Part, ...]


FAULTS: Mapping[str, Fault] = {
    "noise_off": Fault(
        "no noise is added",
        CANARIES,
        (Part(RandomSource, "gaussian", broken.no_noise), Part(Skellam, "sample", broken.no_shares)),
    ),
    "half_noise": Fault(
        "the noise has half its size",
        CANARIES,
        (Part(RandomSource, "gaussian", broken.half_noise), Part(Skellam, "sample", broken.half_shares)),
    ),
    "clip_off": Fault(
        "neither a client nor the server clips",
        CANARIES,
        (
            Part(contribution, "clip_update", broken.unclipped),
            Part(aggregation, "clip_update", broken.unclipped),
            Part(ring, "clip_update", broken.unclipped),
            Part(dp_sgd, "SourceNoiseOptimizer", broken.UnclippedSteps),
        ),
    ),
    "example_weights": Fault(
        "the sum weighs everybody by a count of examples",
        CANARIES,
        (
            Part(client, "clipped_update", broken.update_and_count),
            Part(server_round, "UpdateSum", broken.WeightedSum),
            Part(ring.Ring, "encode", broken.weighted_encode),
            Part(dp_sgd, "fill_example_gradients", broken.gradients_and_counts),
            Part(dp_sgd, "SourceNoiseOptimizer", broken.WeightedSteps),
        ),
    ),
    "reused_seed": Fault(
        "all noise is drawn under one key", CANARIES, (Part(randomness, "system_source", broken.same_source),)
    ),
    "sliding_windows": Fault(
        "a history becomes many examples that overlap",
        NEIGHBOURS,
        (Part(examples, "units_of", broken.sliding_windows),),
    ),
    "in_batch_negatives": Fault(
        "other people's positives are the negatives",
        NEIGHBOURS,
        (Part(local, "example_losses", broken.in_batch_negatives),),
    ),
    "coupled_loss": Fault(
        "the loss is a mean over all positions of a batch",
        NEIGHBOURS,
        (Part(local, "example_losses", broken.coupled_loss),),
    ),
}


@contextmanager
def injected(fault: Fault) -> Iterator[None]:
    """The fault is in the deployed code until the end of the block."""
    with ExitStack() as stack:
        for part in fault.parts:
            stack.enter_context(replaced(part.owner, part.name, part.broken))
        yield


def fault_named(name: str) -> Fault:
    """The fault of this name; raises ConfigError that names the nearest one."""
    if name not in FAULTS:
        (nearest,) = get_close_matches(name, FAULTS, n=1, cutoff=0.0)
        raise ConfigError(f"There is no fault `{name}`. Did you mean `{nearest}`? Choose from {', '.join(FAULTS)}.")
    return FAULTS[name]
