"""Losses on one batch of examples: next item, intent, rating. One number per example.

Nothing couples two examples: negatives come from the public catalogue, an example's loss
is a mean over its own positions, and examples are summed by the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fedrec.model.recommender import Recommender, UserState

_NEVER = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples padded to the same number of positions P.

    inputs: the tower's tensors, each (B, P, ...). targets: (B, P) rows of the catalogue.
    aims: (B, P), 1 where next-item training aims at the target. intents, ratings: (B, P),
    NaN without a label. usual: (B, P), the example's own mean rating so far.
    own: (B, M) rows that are the example's positives, padded with -1: never its negatives.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    aims: Tensor
    intents: Tensor
    ratings: Tensor
    usual: Tensor
    own: Tensor

    def __len__(self) -> int:
        return len(self.targets)


def example_losses(
    model: Recommender,
    batch: Batch,
    *,
    heads: Mapping[str, float],
    negatives: Tensor | None = None,
    log_weight: float = 0.0,
) -> Tensor:
    """(B,) weighted sum of each example's head losses.

    negatives: (S,) shared rows of the catalogue, drawn without looking at anyone's data;
    None for the full softmax. log_weight: added to the score of each of them.
    """
    state = model.state(*batch.inputs)
    losses = torch.zeros(len(batch))
    if weight := heads.get("next_item"):
        losses = losses + weight * _next_item(model, state.query, batch, negatives, log_weight)
    if weight := heads.get("intent"):
        logits = predict_intent(model, state, batch.targets)
        known = ~batch.intents.isnan()
        each = functional.binary_cross_entropy_with_logits(logits, batch.intents.nan_to_num(), reduction="none")
        losses = losses + weight * _own_mean(each, known)
    if weight := heads.get("rating"):
        known = ~batch.ratings.isnan()
        error = predict_rating(model, state, batch.targets, batch.usual) - batch.ratings.nan_to_num()
        losses = losses + weight * _own_mean(error.square(), known)
    return losses


def predict_intent(model: Recommender, state: UserState, rows: Tensor) -> Tensor:
    """Log-odds that the person will like, buy or finish the item of each position."""
    wanted = model.intent_proj(state.taste) + state.query
    log_odds: Tensor = (wanted * model.items.weight[rows]).sum(-1)
    return log_odds


def predict_rating(model: Recommender, state: UserState, rows: Tensor, usual: Tensor) -> Tensor:
    """The rating of the item of each position, around the person's usual one."""
    above: Tensor = (model.rating_proj(state.taste) * model.items.weight[rows]).sum(-1)
    return usual + above


def _next_item(model: Recommender, query: Tensor, batch: Batch, negatives: Tensor | None, log_weight: float) -> Tensor:
    if negatives is None:
        logits = model.logits(query)
        target = logits.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
        others = logits.masked_fill(_own_rows(batch.own, logits.shape[-1]).unsqueeze(1), _NEVER)
    else:
        target = model.sampled_logits(query, batch.targets.unsqueeze(-1)).squeeze(-1)
        mine = (negatives[None, :, None] == batch.own[:, None, :]).any(-1)
        weighted = model.sampled_logits(query, negatives) + log_weight
        others = weighted.masked_fill(mine.unsqueeze(1), _NEVER)
    total = torch.logaddexp(target, others.logsumexp(-1))
    return _own_mean(total - target, batch.aims > 0)


def _own_rows(own: Tensor, items: int) -> Tensor:
    """(B, N): which items are the example's own positives; -1 in `own` marks nothing."""
    marks = torch.zeros(len(own), items + 1, dtype=torch.bool)
    return marks.scatter_(1, own.where(own >= 0, items), value=True)[:, :items]


def _own_mean(values: Tensor, counted: Tensor) -> Tensor:
    """(B,) mean over an example's own counted positions, 0 where it has none."""
    return (values * counted).sum(-1) / counted.sum(-1).clamp(min=1)
