"""The adapted model as evaluation and baselines see it: histories in, scores out."""

from collections.abc import Sequence

import numpy as np
import torch

from fedrec.data.sequences import Floats, History, Ints
from fedrec.model.heads import predict_intent, predict_rating
from fedrec.model.history import usual_ratings
from fedrec.model.recommender import Recommender, UserState


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

    @torch.no_grad()
    def predictions(self, histories: Sequence[History], rows: Ints) -> tuple[Floats, Floats]:
        """(B,) probability that each person means it, and (B,) the rating, for one item each; rows: (B,)."""
        usual = torch.tensor([usual_ratings(history)[-1] for history in histories])
        intents, ratings = [], []
        for start in range(0, len(histories), self._batch):
            part = slice(start, start + self._batch)
            state = self._model.state(*self._inputs(histories[part]))
            one = UserState(state.query[:, 0], state.taste[:, 0])
            items = torch.from_numpy(rows[part])
            intents.append(predict_intent(self._model, one, items).sigmoid())
            ratings.append(predict_rating(self._model, one, items, usual[part]))
        return torch.cat(intents).numpy(), torch.cat(ratings).numpy()

    def _some(self, histories: Sequence[History]) -> Floats:
        scores: Floats = self._model(*self._inputs(histories))[:, 0].numpy()
        return scores

    def _inputs(self, histories: Sequence[History]) -> tuple[torch.Tensor, ...]:
        recent = [history.take(slice(-self._window, None)) for history in histories]
        inputs = [self._model.tower.inputs(history, np.array([len(history)])) for history in recent]
        return tuple(torch.stack(tensors) for tensors in zip(*inputs, strict=True))
