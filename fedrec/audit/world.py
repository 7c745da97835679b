"""A small world to audit on: a model over random items, and people who did random things."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.random import Generator

from fedrec.config import AdapterConfig, ModelConfig
from fedrec.data.sequences import History
from fedrec.model.adapter import AdaptedModel
from fedrec.model.build import adapt, build_recommender
from fedrec.model.item_index import ItemIndex, build_index

DAY = 86_400


def small_model(*, items: int, width: int, rank: int) -> AdaptedModel:
    """A linear tower with one decayed sum and a zero adapter of width * rank numbers."""
    index = _index(items, width)
    config = ModelConfig(decays=(0.5,), decay_weights=(1.0,), window=60)
    return adapt(build_recommender(config, index), config, AdapterConfig(ranks={"history_proj": rank}), index)


@cache
def _index(items: int, width: int) -> ItemIndex:
    embeddings = np.random.default_rng(0).normal(size=(items, width)).astype(np.float32)
    return build_index(embeddings, [str(row) for row in range(items)], encoder_name="random", encoder_hash="0")


def history_of(rows: Sequence[int], times: Sequence[int] | None = None) -> History:
    """A history of positives on these rows, a day apart unless times (UTC s) are given."""
    size = len(rows)
    return History(
        rows=np.asarray(rows, dtype=np.int64),
        times=np.arange(size, dtype=np.int64) * DAY if times is None else np.asarray(times, dtype=np.int64),
        weights=np.ones(size, dtype=np.float32),
        targets=np.ones(size, dtype=np.bool_),
        intents=np.full(size, np.nan, dtype=np.float32),
        ratings=np.full(size, np.nan, dtype=np.float32),
    )


def random_history(draw: Generator, *, events: int, items: int, days: int = 120) -> History:
    """Events on random items at random times."""
    return history_of(draw.integers(0, items, events).tolist(), np.sort(draw.integers(0, days * DAY, events)).tolist())
