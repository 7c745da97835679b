"""The linear recommender over many units at once: scores, losses' gradients written out, norms, in batched products.

The arithmetic of the torch model and of `edge_step.py`, equal to both, with an adapter that all clients share or one
for each. Works in float32 and float64, on any torch device.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fedrec.errors import ConfigError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.layout import Layout
from fedrec.model.linear import module_of
from fedrec.model.recommender import LinearTower
from fedrec.training.learner import LIST_LENGTH
from fedrec.training.padding import Padded

# Trainable tensors by their names in the layout; with a leading axis one for each unit.
Adapter = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Lora:
    """A module's factors, a (r, in) and b (out, r), or (E, r, in) and (E, out, r). names: of those that are trained."""

    a: Tensor
    b: Tensor

    def low(self, inputs: Tensor) -> Tensor:
        """(E, P, r) of (E, P, in)."""
        return inputs @ self.a.mT

    def pull_back(self, outputs: Tensor) -> Tensor:
        """(E, P, in): the transposed map of (E, P, out)."""
        return (outputs @ self.b) @ self.a


@dataclass(frozen=True, slots=True)
class Side:
    """A gradient in its factored form: of unit e it is left[e]^T right[e]. left: (E, P, out), right: (E, P, in)."""

    left: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A forward pass. taste, raw, query: (E, P, d)."""

    loras: Mapping[str, Lora]
    taste: Tensor
    raw: Tensor
    query: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortModel:
    """The frozen model. vectors: (N + T, d), items and query texts. items: (N, d). bases: the `a` of each module.

    powers: (2, ages) what an entry of an age counts in the query, and in the taste.
    """

    vectors: Tensor
    items: Tensor
    prior: Tensor
    scale: float
    powers: Tensor
    bases: Mapping[str, Tensor]
    layout: Layout

    @classmethod
    def of(cls, model: AdaptedModel, *, oldest: int, dtype: torch.dtype, device: str) -> "CohortModel":
        """A model's arithmetic; raises ConfigError for a tower that is not linear. oldest: age of an entry."""
        base, tower = model.base, model.base.tower
        if not isinstance(tower, LinearTower):
            raise ConfigError('The cohort engine trains the linear tower. Use --engine flower with model.tower "text".')

        def on(values: object) -> Tensor:
            return torch.as_tensor(values).detach().to(device=device, dtype=dtype)

        ages = torch.arange(oldest + 1, dtype=torch.float64)
        powers = torch.tensor(tower.decays, dtype=torch.float64)[:, None] ** ages
        weighted = torch.stack([tower.weights.double() @ powers, powers.sum(0) / len(powers) ** 0.5])
        return cls(
            vectors=on(tower.vectors),
            items=on(_weight_of(base.items)),
            prior=on(base.prior),
            scale=base.scale,
            powers=on(weighted),
            bases={module_of(name): on(value) for name, value in model.peft.named_parameters() if ".lora_A." in name},
            layout=model.layout,
        )

    def forward(self, batch: Padded, adapter: Adapter) -> Pass:
        """What each position asks for."""
        seen = (self.powers[:, batch.ages] * batch.past).movedim(0, 1).flatten(1, 2)
        zero_shot, taste = (seen @ self.vectors[batch.rows]).chunk(2, dim=1)
        loras = self._loras(adapter)
        raw = self.scale * zero_shot
        if lora := loras.get("history_proj"):
            raw = raw + lora.low(taste) @ (self.scale * lora.b.mT)
        query = raw
        if lora := loras.get("item_proj"):
            query = raw + lora.low(raw) @ lora.b.mT
        return Pass(loras=loras, taste=taste, raw=raw, query=query)

    def gradients(
        self, batch: Padded, adapter: Adapter, *, heads: Mapping[str, float], negatives: Tensor | None
    ) -> dict[str, Side]:
        """The gradient of each unit's loss, by the name of each trained tensor; None of a tensor that no head reads."""
        given = self.forward(batch, adapter)
        wanted = torch.zeros_like(given.query)
        outputs: dict[str, Tensor] = {}
        if weight := heads.get("next_item"):
            pull, coefficients = self._next_item(batch, given, weight, negatives)
            wanted += pull
            if coefficients is not None:
                outputs["items"] = coefficients
        if weight := heads.get("intent"):
            outputs["intent_proj"] = weight * self._intent(batch, given)
            wanted += outputs["intent_proj"]
        if weight := heads.get("rating"):
            outputs["rating_proj"] = weight * self._rating(batch, given)
        outputs["item_proj"] = wanted
        if lora := given.loras.get("item_proj"):
            wanted = wanted + lora.pull_back(wanted)
        outputs["history_proj"] = self.scale * wanted
        return {name: self._side(name, given, outputs.get(module_of(name))) for name in self.layout.names}

    def quality(self, batch: Padded, adapter: Adapter) -> tuple[Tensor, Tensor, Tensor]:
        """Each unit's mean next-item loss, how many targets were hits among ten, and how many it has; each (E,)."""
        given = self.forward(batch, adapter)
        scores, target = self._all_scores(given), None
        target = scores.gather(-1, batch.targets.unsqueeze(-1))
        better = (scores > target).sum(-1)
        others = scores.masked_fill_(self._own(batch).unsqueeze(1), -torch.inf)
        cost = torch.logaddexp(target.squeeze(-1), others.logsumexp(-1)) - target.squeeze(-1)
        counted = batch.aimed > 0
        return (cost * batch.aimed).sum(1), ((better < LIST_LENGTH) & counted).sum(1), counted.sum(1)

    def _loras(self, adapter: Adapter) -> dict[str, Lora]:
        trained = {(module_of(name), "lora_B" in name): value for name, value in adapter.items()}
        return {
            module: Lora(trained.get((module, False), a), trained[module, True]) for module, a in self.bases.items()
        }

    def _side(self, name: str, given: Pass, outputs: Tensor | None) -> Side:
        module = module_of(name)
        lora = given.loras[module]
        inputs = {"item_proj": given.raw, "items": given.query}.get(module, given.taste)
        if outputs is None:
            outputs = inputs.new_zeros((*inputs.shape[:2], lora.b.shape[-2]))
        return Side(outputs, lora.low(inputs)) if "lora_B" in name else Side(outputs @ lora.b, inputs)

    def _next_item(
        self, batch: Padded, given: Pass, weight: float, negatives: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(E, P, d) gradient with respect to the query, and (E, P, N) to every score; None of them where sampled."""
        aimed = weight * batch.aimed
        if negatives is not None:
            rows, targets = self.items[negatives], self.items[batch.targets]
            scores = given.query @ rows.T + self.prior[negatives]
            target = (given.query * targets).sum(-1) + self.prior[batch.targets]
            others, own = _softmax_(scores, target, self._own_among(batch, negatives), aimed)
            return others @ rows + own.unsqueeze(-1) * targets, None
        scores = self._all_scores(given)
        target = scores.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
        coefficients, own = _softmax_(scores, target, self._own(batch), aimed)
        coefficients.scatter_add_(-1, batch.targets.unsqueeze(-1), own.unsqueeze(-1))
        pull = coefficients @ self.items
        if lora := given.loras.get("items"):
            pull = pull + lora.pull_back(coefficients)
        return pull, coefficients

    def _intent(self, batch: Padded, given: Pass) -> Tensor:
        """(E, P, d) gradient with respect to what the head asks for: binary cross-entropy."""
        targets = self.items[batch.targets]
        wanted = given.query
        if lora := given.loras.get("intent_proj"):
            wanted = wanted + lora.low(given.taste) @ lora.b.mT
        likely = functional.sigmoid((wanted * targets).sum(-1))
        return ((likely - batch.intents) * batch.felt).unsqueeze(-1) * targets

    def _rating(self, batch: Padded, given: Pass) -> Tensor:
        """(E, P, d) gradient with respect to what the head asks for: squared error around the usual rating."""
        targets = self.items[batch.targets]
        error = batch.usual - batch.ratings
        if lora := given.loras.get("rating_proj"):
            error = error + ((lora.low(given.taste) @ lora.b.mT) * targets).sum(-1)
        return (2 * error * batch.rated).unsqueeze(-1) * targets

    def _all_scores(self, given: Pass) -> Tensor:
        """(E, P, N)."""
        scores = given.query @ self.items.T
        if lora := given.loras.get("items"):
            scores += lora.low(given.query) @ lora.b.mT
        scores += self.prior
        return scores

    def _own(self, batch: Padded) -> Tensor:
        """(E, N): which items are a unit's own positives."""
        return self._marks(batch.own, len(self.items))

    def _own_among(self, batch: Padded, rows: Tensor) -> Tensor:
        """(E, S): which of these rows are a unit's own positives."""
        place = rows.new_full((len(self.items) + 1,), len(rows))
        place[rows] = torch.arange(len(rows), device=rows.device)
        return self._marks(place[batch.own], len(rows))

    @staticmethod
    def _marks(places: Tensor, size: int) -> Tensor:
        marks = torch.zeros((len(places), size + 1), dtype=torch.bool, device=places.device)
        return marks.scatter_(1, places, value=True)[:, :size]


def _softmax_(scores: Tensor, target: Tensor, mine: Tensor, aimed: Tensor) -> tuple[Tensor, Tensor]:
    """The loss's gradient with respect to the others' scores, in their place, and to the target's own.

    mine: (E, S) what is no other. aimed: (E, P) each position's part of the loss.
    """
    scores.masked_fill_(mine.unsqueeze(1), -torch.inf)
    most = torch.maximum(scores.amax(-1), target)
    others = scores.sub_(most.unsqueeze(-1)).exp_()
    own = (target - most).exp_()
    total = others.sum(-1) + own
    return others.mul_((aimed / total).unsqueeze(-1)), aimed * (own / total - 1)


def _weight_of(module: torch.nn.Module) -> Tensor:
    """The frozen weight of a module, under an adapter or not."""
    weight = getattr(module, "base_layer", module).weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} holds no weight.")
    return weight
