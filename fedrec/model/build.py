"""The base model of a scenario: from settings, item index and prior to an adapted model."""

from pathlib import Path

import numpy as np

from fedrec.config import AdapterConfig, ModelConfig
from fedrec.data.sequences import Floats
from fedrec.model.adapter import AdaptedModel
from fedrec.model.frozen_hash import frozen_hash
from fedrec.model.item_index import ItemIndex
from fedrec.model.recommender import LinearTower, Recommender, Tower
from fedrec.model.text_encoder import default_encoder_path


def encoder_path(config: ModelConfig) -> Path:
    """The folder of the encoder that the scenario names, or of the packaged one."""
    return Path(config.encoder) if config.encoder else default_encoder_path()


def build_recommender(
    config: ModelConfig,
    index: ItemIndex,
    *,
    texts: tuple[list[str], list[str]] = ([], []),
    query_vectors: Floats | None = None,
    prior: Floats | None = None,
) -> Recommender:
    """The frozen base model.

    texts: of the items and of the queries; only the text tower reads them.
    query_vectors: (T, d), of search and comment texts. prior: (N,) log popularity.
    """
    tower: Tower
    if config.tower == "text":
        from fedrec.model.text_tower import TextTower

        tower = TextTower(encoder_path(config), [*texts[0], *texts[1]], index.whitening, titles=config.titles)
    else:
        queries = np.zeros((0, index.width), np.float32) if query_vectors is None else query_vectors
        tower = LinearTower(
            np.concatenate([index.vectors, queries]), decays=config.decays, weights=config.decay_weights
        )
    weighted = None if prior is None else (config.prior_weight * prior).astype(np.float32)
    return Recommender(tower, index.vectors, scale=config.scale, prior=weighted)


def adapt(model: Recommender, config: ModelConfig, adapter: AdapterConfig, index: ItemIndex) -> AdaptedModel:
    """Put a zero adapter on the base model."""
    return AdaptedModel(model, adapter, base_hash=base_model_hash(config, index, model.prior.numpy()))


def base_model_hash(config: ModelConfig, index: ItemIndex, prior: Floats) -> str:
    """Identifies the frozen part: index, which names its encoder, weighted prior, and settings."""
    return frozen_hash(config, index.content_hash, prior)
