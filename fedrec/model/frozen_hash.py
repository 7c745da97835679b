"""What identifies the frozen part of a model, on the side that trains it and on every device."""

import hashlib
import json
from dataclasses import asdict

from fedrec.config import ModelConfig
from fedrec.model.item_index import Floats


def frozen_hash(config: ModelConfig, index_hash: str, prior: Floats) -> str:
    """Hash of the item index, which names its encoder, the (N,) weighted prior, and the settings."""
    settings = {key: value for key, value in asdict(config).items() if key != "encoder"}
    weighted = hashlib.sha256(prior.astype("<f4").tobytes()).hexdigest()
    return hashlib.sha256(json.dumps([index_hash, weighted, settings], sort_keys=True).encode()).hexdigest()
