"""From a foundation to what its server holds constant, and to the state that it starts from."""

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.runs.admission import require_bound_over_noise
from fedrec.training.aggregation import ServerState
from fedrec.training.foundation import Foundation
from fedrec.training.masking import DirectoryOf, masking_of
from fedrec.training.recipe import Recipe


def recipe_of(foundation: Foundation, *, run_id: str, directory_of: DirectoryOf) -> Recipe:
    """What the server of this run does in every round; raises ConfigError where hardly any update would count.

    directory_of: asked for the clients' identity keys where updates are summed under masks.
    """
    scenario = foundation.scenario
    require_bound_over_noise(scenario, foundation.plan, size=foundation.model.layout.size)
    return Recipe(
        federation=scenario.federation,
        plan=foundation.plan,
        layout=foundation.model.layout.hash,
        run_id=run_id,
        seed=scenario.seed,
        noise=scenario.privacy.noise,
        catalogue=len(foundation.index),
        prior_weight=scenario.model.prior_weight,
        budget=foundation.budget,
        masking=masking_of(foundation.plan, directory_of),
    )


def run_id_of(key: Ed25519PrivateKey) -> str:
    """Tells a run from any other; key: the run's own."""
    return key.public_key().public_bytes_raw().hex()[:32]


def start_of(foundation: Foundation) -> ServerState:
    """The state before the first round: a zero adapter, or a random A where that is trained."""
    layout = foundation.model.layout
    trained = foundation.scenario.adapter.train_a
    return ServerState.start(foundation.model.flatten() if trained else np.zeros(layout.size, dtype=np.float32))
