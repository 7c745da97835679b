"""What a server holds constant over a run, and the seeds of everything that is public about it."""

import hashlib
from dataclasses import dataclass

from fedrec.federation_config import FederationConfig
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import NoiseKind
from fedrec.training.masking import Masking


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the server holds constant over a run.

    run_id: tells this run's rounds from any other's. noise: `system` is secret. catalogue:
    the number of items, N. prior_weight: of a released popularity in every score. budget:
    asked for every client before it is drawn, as interruptions cost more than was planned. masking:
    how updates are summed where the server must not see them.
    """

    federation: FederationConfig
    plan: PrivacyPlan | None
    layout: str
    run_id: str
    seed: int
    noise: NoiseKind
    catalogue: int
    prior_weight: float = 1.0
    budget: Budget | None = None
    masking: Masking | None = None

    @property
    def asks_anew(self) -> bool:
        """Whether a round that was cut off is another attempt when it goes on: what came of the first is of no use."""
        return self.masking is not None or (self.plan is not None and self.plan.mode == "central")


def draw_seed(seed: int, *labels: object) -> int:
    """A seed for everything that is public about a round."""
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *labels))).encode()).digest()
    return int.from_bytes(digest[:8], "big")
