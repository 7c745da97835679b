"""The adapted model as evaluation and baselines see it: histories in, scores out."""

from collections.abc import Sequence

import numpy as np
import torch

from fedrec.data.sequences import Floats, History
from fedrec.model.recommender import Recommender


class ModelScorer:
    """Scores of the whole catalogue for a batch of histories.

    window: how many of the latest entries are read. batch: people per forward pass.
    """

    def __init__(self, model: Recommender, *, window: int, batch: int = 64) -> None:
        self._model = model
        self._window = window
        self._batch = batch

    @torch.no_grad()
    def scores(self, histories: Sequence[History]) -> Floats:
        """(B, N) float32."""
        parts = [self._some(histories[start : start + self._batch]) for start in range(0, len(histories), self._batch)]
        return np.concatenate(parts)

    def _some(self, histories: Sequence[History]) -> Floats:
        recent = [history.take(slice(-self._window, None)) for history in histories]
        inputs = [self._model.tower.inputs(history, np.array([len(history)])) for history in recent]
        stacked = (torch.stack(tensors) for tensors in zip(*inputs, strict=True))
        scores: Floats = self._model(*stacked)[:, 0].numpy()
        return scores
