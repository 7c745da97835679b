"""The linear recommender over many units at once: scores, losses' gradients written out, norms, in batched products.

The arithmetic of the torch model and of `edge_step.py`, equal to both, with an adapter that all clients share or one
for each. Works in float32 and float64, on any torch device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from fedrec.errors import ConfigError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.layout import Layout
from fedrec.model.linear import module_of
from fedrec.model.recommender import LinearTower
from fedrec.training.factors import Lora, Side, times
from fedrec.training.learner import LIST_LENGTH
from fedrec.training.padding import Labels, Padded, Padding
from fedrec.training.scoring import Asking, Catalogue, First, Others, leave_out_own_, scores_of

# Trainable tensors by their names in the layout; with a leading axis one for each unit.
Adapter = Mapping[str, Tensor]

# The modules whose input is the summed history.
_READ_TASTE = frozenset({"history_proj", "intent_proj", "rating_proj"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A forward pass.

    lows: what each module reads, (E, P, r) in its own basis, of history_proj as the query is scaled; inputs: (E, P, d)
    the same where the basis is trained.
    """

    loras: Mapping[str, Lora]
    asking: Asking
    lows: dict[str, Tensor]
    inputs: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortModel:
    """The frozen model. prior: (N,). bases: the `a` of each module.

    projected: the vectors in the basis of each module that reads the taste, where it is frozen: a decayed sum of
    projections is the projection of the sum. asked, liked: (ages,) what an entry counts in the query, and in the taste.
    """

    catalogue: Catalogue
    prior: Tensor
    scale: float
    asked: Tensor
    liked: Tensor
    bases: Mapping[str, Tensor]
    projected: Mapping[str, Tensor]
    layout: Layout

    @classmethod
    def of(
        cls,
        model: AdaptedModel,
        *,
        oldest: int,
        dtype: torch.dtype,
        device: str,
        products: torch.dtype | None = None,
        sampled: bool = False,
    ) -> "CohortModel":
        """A model's arithmetic; raises ConfigError for a tower that is not linear.

        oldest: age of an entry. products: precision of products with the catalogue, `dtype` if None. sampled: whether
        losses are against a few items.
        """
        base, tower = model.base, model.base.tower
        if not isinstance(tower, LinearTower):
            raise ConfigError('The cohort engine trains the linear tower. Use --engine flower with model.tower "text".')

        def on(values: object) -> Tensor:
            return torch.as_tensor(values).detach().to(device=device, dtype=dtype)

        ages = torch.arange(oldest + 1, dtype=torch.float64)
        powers = torch.tensor(tower.decays, dtype=torch.float64)[:, None] ** ages
        bases = {module_of(name): on(value) for name, value in model.peft.named_parameters() if ".lora_A." in name}
        trained = {module_of(name) for name in model.layout.names if ".lora_A." in name}
        vectors, items = on(tower.vectors), on(_weight_of(base.items))
        rank = sum(len(a) for a in bases.values())
        return cls(
            catalogue=Catalogue.of(vectors, items, products=products, keep=not sampled and 2 * rank <= items.shape[1]),
            prior=on(base.prior),
            scale=base.scale,
            asked=on(base.scale * (tower.weights.double() @ powers)),
            liked=on(powers.sum(0) / len(powers) ** 0.5),
            bases=bases,
            projected={name: vectors @ a.T for name, a in bases.items() if name in _READ_TASTE and name not in trained},
            layout=model.layout,
        )

    def with_prior(self, model: AdaptedModel) -> "CohortModel":
        """The same with the prior that a model has now."""
        return replace(self, prior=model.base.prior.to(self.prior))

    @property
    def items(self) -> Tensor:
        """(N, d) vectors."""
        return self.catalogue.items

    def others(self, negatives: Tensor | None, *, log_weight: float = 0.0) -> Others:
        """What losses set against a target: some rows of the catalogue, (S,), or all. log_weight: of each of some."""
        return self.catalogue.others(negatives, self.prior, log_weight=log_weight)

    def padding(self, heads: Mapping[str, float]) -> Padding:
        """How units become what these heads are trained on."""
        labels = bool(heads.keys() & {"intent", "rating"})
        return Padding(asked=self.asked, liked=self.liked, items=len(self.items), labels=labels)

    def forward(self, batch: Padded, adapter: Adapter) -> Pass:
        """What each position asks for."""
        loras, lows, inputs = self._loras(adapter), dict[str, Tensor](), dict[str, Tensor]()
        read = functional.embedding(batch.rows, self.catalogue.vectors)
        for name in _READ_TASTE & loras.keys():
            if name in self.projected:
                lows[name] = batch.liked @ functional.embedding(batch.rows, self.projected[name])
            else:
                inputs[name] = batch.liked @ read
                lows[name] = loras[name].low(inputs[name])
        asking = Asking(batch=batch, read=read, added=())
        if lora := loras.get("history_proj"):
            lows["history_proj"] = self.scale * lows["history_proj"]
            asking = replace(asking, added=[(lows["history_proj"], lora.b)])
        for name in ("item_proj", "items"):
            if lora := loras.get(name):
                inputs[name] = query = asking.whole()
                lows[name] = lora.low(query)
                if name == "item_proj":
                    added = [*asking.added, (lows[name], lora.b)]
                    asking = replace(asking, added=added, query=query + lows[name] @ lora.b.mT)
        return Pass(loras=loras, asking=asking, lows=lows, inputs=inputs)

    def gradients(
        self,
        batch: Padded,
        adapter: Adapter,
        *,
        heads: Mapping[str, float],
        others: Others,
        first: First | None = None,
    ) -> dict[str, Side]:
        """The gradient of each unit's loss, by the name of each trained tensor; None of a tensor that no head reads.

        first: of the same batch and others, where more steps than this one are taken.
        """
        given = self.forward(batch, adapter)
        outputs: dict[str, Tensor] = {}
        apart = bool(heads.get("next_item")) and self._is_left_apart(given)
        if apart and not (heads.keys() - {"next_item"} or "items" in given.loras):
            # The commonest recipe, in the fewest passes over memory.
            slopes, marks = self._next_item(batch, given, others, first)
            (name,) = self.layout.names
            side = self._side(name, given, given.asking.read)
            right = side.right * (heads["next_item"] * batch.aimed).unsqueeze(-1)
            return {name: Side(side.left, right, slopes, others.rows, batch.places, marks)}
        targets = functional.embedding(batch.targets, self.items)
        wanted, left_apart = torch.zeros_like(targets), None
        if weight := heads.get("next_item"):
            slopes, marks = self._next_item(batch, given, others, first)
            aimed = weight * batch.aimed
            slopes, marks = slopes * aimed.unsqueeze(-1), marks * aimed
            wanted = marks.unsqueeze(-1) * targets
            if lora := given.loras.get("items"):
                outputs["items"] = slopes.scatter_add(-1, batch.targets.unsqueeze(-1), marks.unsqueeze(-1))
                wanted += lora.pull_back(outputs["items"])
            if apart:
                left_apart = slopes
            else:
                wanted.add_(times(slopes, others.rows))
        if batch.labels and (weight := heads.get("intent")):
            outputs["intent_proj"] = weight * self._intent(batch.labels, given, targets)
            wanted = wanted + outputs["intent_proj"]
        if batch.labels and (weight := heads.get("rating")):
            outputs["rating_proj"] = weight * self._rating(batch.labels, given, targets)
        outputs["item_proj"] = wanted
        if lora := given.loras.get("item_proj"):
            wanted = wanted + lora.pull_back(wanted)
        outputs["history_proj"] = wanted
        sides = {name: self._side(name, given, outputs.get(module_of(name))) for name in self.layout.names}
        if left_apart is None:
            return sides
        return {
            name: replace(side, slopes=left_apart, rows=others.rows) if module_of(name) == "history_proj" else side
            for name, side in sides.items()
        }

    def quality(self, batch: Padded, adapter: Adapter) -> tuple[Tensor, Tensor, Tensor]:
        """Each unit's mean next-item loss, how many targets were hits among ten, and how many it has; each (E,)."""
        given, others = self.forward(batch, adapter), self.others(None)
        scores = self._scores(batch, given, others)
        target = scores[..., -1].clone()
        better = (scores[..., :-1] > target.unsqueeze(-1)).sum(-1)
        leave_out_own_(scores, batch, others)
        cost, counted = scores.logsumexp(-1) - target, batch.aimed > 0
        return (cost * batch.aimed).sum(1), ((better < LIST_LENGTH) & counted).sum(1), counted.sum(1)

    def _loras(self, adapter: Adapter) -> dict[str, Lora]:
        trained = {(module_of(name), "lora_B" in name): value for name, value in adapter.items()}
        return {
            module: Lora(trained.get((module, False), a), trained[module, True]) for module, a in self.bases.items()
        }

    def _side(self, name: str, given: Pass, outputs: Tensor | None) -> Side:
        module = module_of(name)
        lora, low = given.loras[module], given.lows[module]
        if outputs is None:
            outputs = low.new_zeros((*low.shape[:2], lora.b.shape[-2]))
        if "lora_B" in name:
            return Side(outputs, low)
        # The query that history_proj adds to is scaled.
        scale = self.scale if module == "history_proj" else 1.0
        return Side(scale * (outputs @ lora.b), given.inputs[module])

    def _is_left_apart(self, given: Pass) -> bool:
        """Whether what pulls at the query is needed in one product alone, and is cheaper there factor by factor."""
        low = given.lows.get("history_proj")
        if low is None or "item_proj" in given.loras or "history_proj" in given.inputs:
            return False
        positions, rank, width = low.shape[1], low.shape[2], self.items.shape[1]
        return rank * (positions + width) < positions * width

    def _next_item(self, batch: Padded, given: Pass, others: Others, first: First | None) -> tuple[Tensor, Tensor]:
        """The gradient of each position's loss with respect to others' scores, (E, P, S), and the target's, (E, P)."""
        scores = self._scores(batch, given, others, first)
        leave_out_own_(scores, batch, others)
        likely = torch.softmax(scores, dim=-1)
        return likely[..., :-1], likely[..., -1] - 1

    @staticmethod
    def _scores(batch: Padded, given: Pass, others: Others, first: First | None = None) -> Tensor:
        """(E, P, S + 1) the others' scores, a unit's own positives among them, and the target's."""
        scores = scores_of(given.asking, others, first)
        if lora := given.loras.get("items"):
            scores[..., :-1] += given.lows["items"] @ lora.b.mT
        if others.place is None:
            scores[..., -1] = scores.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
        return scores

    def _intent(self, labels: Labels, given: Pass, targets: Tensor) -> Tensor:
        """(E, P, d) gradient with respect to what the head asks for: binary cross-entropy."""
        wanted = given.asking.whole()
        if lora := given.loras.get("intent_proj"):
            wanted = wanted + given.lows["intent_proj"] @ lora.b.mT
        likely = functional.sigmoid((wanted * targets).sum(-1))
        return ((likely - labels.intents) * labels.felt).unsqueeze(-1) * targets

    def _rating(self, labels: Labels, given: Pass, targets: Tensor) -> Tensor:
        """(E, P, d) gradient with respect to what the head asks for: squared error around the usual rating."""
        error = labels.usual - labels.ratings
        if lora := given.loras.get("rating_proj"):
            error = error + ((given.lows["rating_proj"] @ lora.b.mT) * targets).sum(-1)
        return (2 * error * labels.rated).unsqueeze(-1) * targets


def _weight_of(module: torch.nn.Module) -> Tensor:
    """The frozen weight of a module, under an adapter or not."""
    weight = getattr(module, "base_layer", module).weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} holds no weight.")
    return weight
