"""What a reply's one vector consists of: blocks, each with its own bound, noise and charge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedrec.privacy.plan import UNIT_NORM, PrivacyPlan
from fedrec.privacy.spends import GaussianSpend, Spend

Task = Literal["update", "popularity"]
# The last block of a reply when the plan releases metrics: see `contribution.metrics_of`.
METRICS = ("loss", "hit_rate@10", "clip_fraction", "counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`size` entries of a reply that are summed, bounded and charged together.

    clip_norm: L2 bound that the server holds every client to; None where the client has
    noised the block itself (`local` mode), or nothing is private.
    """

    kind: Literal["update", "metrics", "popularity"]
    size: int
    clip_norm: float | None
    spend: Spend

    @property
    def noise_std(self) -> float:
        """Of the server's noise on each entry of the sum; 0 where the server adds none."""
        return self.spend.noise_multiplier * self.clip_norm if self.clip_norm else 0.0


def blocks_of(plan: PrivacyPlan, task: Task, *, size: int) -> list[Block]:
    """The blocks of a reply under a plan.

    size: of the flat adapter for an update, of the catalogue for popularity.
    """
    if task == "popularity" and plan.popularity:
        spend = GaussianSpend(noise_multiplier=plan.popularity.noise_multiplier)
        return [Block(kind="popularity", size=size, clip_norm=UNIT_NORM, spend=spend)]
    bound = plan.clip_norm if plan.mode == "central" else None
    blocks = [Block(kind="update", size=size, clip_norm=bound, spend=plan.participation)]
    if plan.metrics_noise is not None:
        spend = GaussianSpend(noise_multiplier=plan.metrics_noise)
        blocks.append(Block(kind="metrics", size=len(METRICS), clip_norm=UNIT_NORM, spend=spend))
    return blocks


def total_size(blocks: Sequence[Block]) -> int:
    """How many numbers a reply has."""
    return sum(block.size for block in blocks)
