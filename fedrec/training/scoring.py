"""The catalogue as units score it: of each position, how much it asks for its target and for others.

What a history asks for before any training is a sum of dot products between items, which are computed once; an
adapter adds a product of low rank to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from fedrec.training.factors import times
from fedrec.training.padding import Padded

# Dot products between items that are kept: 512 MB, of 11,500 items.
_MOST_KEPT = 2**27

# What gathering a number costs, in multiplications.
_GATHERED = 100

# Low-rank additions to what positions ask for: low (E, P, r) and b (d, r), or (E, d, r) where each unit has its own.
Added = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """The S items that a round's losses set against a target.

    rows: (S, d) their vectors in the precision of products. prior: (S,), added to their scores, and (N,) prior_of_all,
    to the targets'. place: (N + 1,) where among them an item is, S where it is not; None where they are all items.
    similar: (N + T, N) all vectors' dot products with them, where they are all items and that is kept.
    """

    rows: Tensor
    prior: Tensor
    prior_of_all: Tensor
    place: Tensor | None
    similar: Tensor | None
    _seen: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def seen_by(self, b: Tensor) -> Tensor:
        """(r, S) or (E, r, S): products of rows with b, (d, r) or (E, d, r); computed once of one that all share."""
        if b.dim() > 2:
            return times(b.mT, self.rows.T)
        if id(b) not in self._seen:
            # With b itself, so that no other tensor comes to its id.
            self._seen[id(b)] = b, times(b.mT, self.rows.T)
        return self._seen[id(b)][1]


@dataclass(slots=True)
class First:
    """What the first of several local steps leaves to the others: (E, P, S + 1) scores without any adapter."""

    scores: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """vectors: (N + T, d) items and query texts. items: (N, d), of which factors is the precision of products.

    similar: (N + T, N) dot products, where they are kept.
    """

    vectors: Tensor
    items: Tensor
    factors: Tensor
    similar: Tensor | None

    @classmethod
    def of(cls, vectors: Tensor, items: Tensor, *, products: torch.dtype | None, keep: bool) -> "Catalogue":
        """keep: whether dot products are worth keeping, where there are not too many."""
        factors = items if products is None else items.to(products)
        similar = vectors @ items.T if keep and len(items) * len(vectors) <= _MOST_KEPT else None
        return cls(vectors=vectors, items=items, factors=factors, similar=similar)

    def others(self, negatives: Tensor | None, prior: Tensor, *, log_weight: float) -> Others:
        """Some rows, (S,), each of a weight, or all items. prior: (N,)."""
        if negatives is None:
            return Others(rows=self.factors, prior=prior, prior_of_all=prior, place=None, similar=self.similar)
        place = negatives.new_full((len(self.items) + 1,), len(negatives))
        place[negatives] = torch.arange(len(negatives), device=negatives.device)
        return Others(
            rows=self.factors.index_select(0, negatives),
            prior=prior[negatives] + log_weight,
            prior_of_all=prior,
            place=place,
            similar=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a batch asks for. read: (E, L, d) the vectors of its entries. query: (E, P, d), where that is known."""

    batch: Padded
    read: Tensor
    added: Added
    query: Tensor | None = None

    def whole(self) -> Tensor:
        """(E, P, d) what each position asks for."""
        if self.query is not None:
            return self.query
        query = self.batch.asked @ self.read
        for low, b in self.added:
            add_product_(query, low, b.mT)
        return query


def scores_of(asking: Asking, others: Others, first: First | None = None) -> Tensor:
    """(E, P, S + 1) the scores of the others, and of the target where they are not all items: free where they are.

    In parts where that takes less.
    """
    if not _in_parts(asking, others, several=first is not None):
        return _of_whole(asking, others)
    more = [(low, others.seen_by(b)) for low, b in asking.added]
    if first is None and others.similar is not None:
        scores = _similar(asking, others.similar)
        more.append((torch.ones_like(scores[..., :1]), others.prior.unsqueeze(0)))
    else:
        scores = _kept(first or First(), asking, others).clone()
    if shared := [each for each in more if each[1].dim() == 2]:
        # In one pass over the scores.
        low = torch.cat([each[0] for each in shared], dim=-1)
        add_product_(scores[..., :-1], low, torch.cat([each[1] for each in shared]))
    for low, seen in more:
        if seen.dim() > 2:
            add_product_(scores[..., :-1], low, seen)
    if others.place is not None:
        for low, b in asking.added:
            scores[..., -1:] += _at_targets(low @ (b.mT @ asking.read.mT), asking.batch)
    return scores


def _in_parts(asking: Asking, others: Others, *, several: bool) -> bool:
    """Whether it takes less to score a history and what is added to it than their sum, in multiplications."""
    (_, positions, entries), width, count = asking.batch.asked.shape, asking.read.shape[2], len(others.rows)
    whole = positions * width * (entries + count)
    parts = 0 if several else (positions + _GATHERED) * entries * count
    if others.similar is None and not several:
        return False
    for low, _ in asking.added:
        rank = low.shape[2]
        whole += positions * rank * width
        # One product for the whole batch where all units share an adapter.
        parts += rank * count * (positions + (width if several else width // max(len(low), 1)))
    return parts < whole


def _kept(first: First, asking: Asking, others: Others) -> Tensor:
    """Scores without any adapter, once for several steps."""
    if first.scores is not None:
        return first.scores
    if others.similar is None:
        scores = _of_whole(Asking(batch=asking.batch, read=asking.read, added=()), others)
    else:
        scores = _similar(asking, others.similar)
        scores[..., :-1] += others.prior
    first.scores = scores
    return scores


def _similar(asking: Asking, similar: Tensor) -> Tensor:
    """Scores without any adapter or prior, of all items, by their dot products with entries."""
    batch = asking.batch
    scores = batch.asked.new_empty((*batch.targets.shape, similar.shape[1] + 1))
    between = functional.embedding(batch.rows, similar)
    torch.bmm(batch.asked, between, out=scores[..., :-1])
    return scores


def _of_whole(asking: Asking, others: Others) -> Tensor:
    """Scores by what each position asks for in all."""
    batch, query = asking.batch, asking.whole()
    scores = query.new_empty((*query.shape[:2], len(others.rows) + 1))
    if others.rows.dtype == query.dtype:
        torch.addmm(others.prior, query.flatten(0, 1), others.rows.T, out=scores.flatten(0, 1)[:, :-1])
    else:
        torch.add(times(query, others.rows.T), others.prior, out=scores[..., :-1])
    if others.place is not None:
        own = _at_targets(query @ asking.read.mT, batch)
        torch.add(own, others.prior_of_all[batch.targets].unsqueeze(-1), out=scores[..., -1:])
    return scores


def leave_out_own_(scores: Tensor, batch: Padded, others: Others) -> None:
    """A unit's own positives are none of the others: their scores become minus infinity."""
    places = batch.own if others.place is None else others.place[batch.own]
    units, which = (places < scores.shape[-1] - 1).nonzero(as_tuple=True)
    scores[units, :, places[units, which]] = -torch.inf


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total (E, P, n) grows by left (E, P, r) times right, (r, n) or (E, r, n)."""
    if right.dim() == 2:
        total.flatten(0, 1).addmm_(left.flatten(0, 1), right)
    else:
        total.baddbmm_(left, right)


def _at_targets(of_entries: Tensor, batch: Padded) -> Tensor:
    """(E, P, 1) of (E, P, L), the entry that is each position's target."""
    return of_entries.gather(-1, batch.places.unsqueeze(-1))
