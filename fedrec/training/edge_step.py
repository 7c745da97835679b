"""A client's update in numpy alone: the linear tower's gradients written out.

Equal to the torch model's to 1e-5 (`tests/training/test_edge_step.py`), so that a device
takes part in `central` and `distributed` rounds without torch. `local` mode needs Opacus.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedrec.config import TrainingConfig
from fedrec.data.sequences import Bools, Floats, History, Ints
from fedrec.errors import RefusedError, UnsafeUpdateError
from fedrec.model.history import decay_weights
from fedrec.model.layout import FlatAdapter, Layout
from fedrec.model.linear import Factor, LinearModel, module_of
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.examples import Example
from fedrec.training.learner import LIST_LENGTH, LocalTask, checked, shared_negatives

# Rows of the index that are in memory as float32 at once.
_BLOCK = 8192

# Gradient of each module's weight in its factored form: (inputs (R, in), outputs (R, out)).
_Sides = dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Decayed sums of a device's own history; `queries` (T, d) are its texts' vectors, rows N to N + T."""

    model: LinearModel
    queries: Floats

    def inputs(self, history: History, positions: Ints) -> tuple[Floats, ...]:
        """((P, K, d) sums,) before each position."""
        items = len(self.model.index)
        vectors = np.zeros((len(history), self.model.index.width), np.float32)
        said = history.rows >= items
        vectors[~said] = self.model.index.vectors(history.rows[~said])
        vectors[said] = self.queries[history.rows[said] - items]
        counted = decay_weights(history.weights, positions, decays=self.model.config.decays)
        return ((counted @ vectors).astype(np.float32),)


@dataclass(slots=True)
class EdgeLearner:
    """Trains the numpy model; see `Learner`."""

    model: LinearModel

    @property
    def layout(self) -> Layout:
        """Of the flat adapter."""
        return self.model.layout

    @property
    def catalogue_size(self) -> int:
        """How many items are scored, N."""
        return len(self.model.prior)

    def set_prior(self, prior: Floats) -> None:
        """Add `prior`, (N,), to every score from now on; raises UnsafeUpdateError if it does not fit."""
        if np.shape(prior) != self.model.prior.shape or not np.isfinite(prior).all():
            raise UnsafeUpdateError(f"A prior of shape {np.shape(prior)} does not fit {self.catalogue_size} items.")
        self.model = replace(self.model, prior=np.asarray(prior, dtype=np.float32))

    def update(
        self,
        examples: Sequence[Example],
        task: LocalTask,
        training: TrainingConfig,
        *,
        plan: PrivacyPlan | None = None,
        source: RandomSource | None = None,
    ) -> FlatAdapter:
        """(P,) float32: what `training.steps` of SGD on the mean loss add; zeros without examples.

        Raises RefusedError in `local` mode, whose steps Opacus clips and noises.
        """
        if plan is not None or source is not None:
            raise RefusedError("Local mode trains with Opacus. Install fedrec[train] on this device, or use a hub.")
        flat = self.layout.fitting(task.adapter).copy()
        negatives = shared_negatives(self.catalogue_size, training.negatives, task.negatives_seed)
        for _ in range(training.steps if examples else 0):
            flat -= np.float32(training.learning_rate) * self.gradient(flat, examples, training, negatives)
        return checked(flat - task.adapter, moved=False)

    def gradient(
        self, flat: FlatAdapter, examples: Sequence[Example], training: TrainingConfig, negatives: Ints | None
    ) -> FlatAdapter:
        """(P,) gradient of the mean loss over `examples` at an adapter."""
        model = self.model.with_adapter(flat)
        total = np.zeros(self.layout.size, np.float64)
        for example in examples:
            total += _flat_gradient(model, _Pass.of(model, example), training, negatives)
        return (total / len(examples)).astype(np.float32)

    def quality(self, examples: Sequence[Example], adapter: FlatAdapter) -> tuple[float, float]:
        """Mean next-item loss and hit rate at 10 of an adapter on what the client trains on."""
        model = self.model.with_adapter(adapter)
        losses, hits, aims = [], 0, 0
        for example in examples:
            each = _Pass.of(model, example)
            scores = _all_scores(model, each.query)
            target = scores[np.arange(len(example.targets)), example.targets][:, None]
            others = np.where(_mine(example.own, self.catalogue_size), -np.inf, scores)
            cost = np.logaddexp(target[:, 0], _log_sum(others)) - target[:, 0]
            aimed = example.aims > 0
            losses.append(float(cost[aimed].mean()) if aimed.any() else 0.0)
            hits += int((((scores > target).sum(1) < LIST_LENGTH) & aimed).sum())
            aims += int(aimed.sum())
        return float(np.mean(losses)), hits / max(aims, 1)


@dataclass(frozen=True, slots=True)
class _Pass:
    """The forward pass over one example's positions. taste, raw, query: (P, d)."""

    example: Example
    taste: Floats
    raw: Floats
    query: Floats

    @classmethod
    def of(cls, model: LinearModel, example: Example) -> "_Pass":
        (sums,) = example.inputs
        sums = np.asarray(sums, dtype=np.float32)
        return cls(example, model.taste(sums), model.unprojected(sums), model.query(sums))


def _flat_gradient(model: LinearModel, given: _Pass, training: TrainingConfig, negatives: Ints | None) -> FlatAdapter:
    """(P,) gradient of one example's loss, in the layout's order."""
    wanted = np.zeros_like(given.query)
    sides: _Sides = {}
    if weight := training.heads.get("next_item"):
        pull, coefficients = _next_item(model, given, negatives, training.log_weight(len(model.index)))
        wanted += weight * pull
        if coefficients is not None and "items" in model.factors:
            sides["items"] = (given.query, weight * coefficients)
    if weight := training.heads.get("intent"):
        sides["intent_proj"] = (given.taste, weight * _intent(model, given))
        wanted += sides["intent_proj"][1]
    if weight := training.heads.get("rating"):
        sides["rating_proj"] = (given.taste, weight * _rating(model, given))
    sides["item_proj"] = (given.raw, wanted)
    if "item_proj" in model.factors:
        wanted = wanted + model.factors["item_proj"].pull_back(wanted)
    sides["history_proj"] = (given.taste, np.float32(model.config.scale) * wanted)
    pieces = [
        _piece(model.factors[module_of(name)], sides.get(module_of(name)), second="lora_B" in name)
        for name in model.layout.names
    ]
    return np.concatenate(pieces)


def _piece(factor: Factor, sides: tuple[Floats, Floats] | None, *, second: bool) -> Floats:
    """The flat gradient of `b` (`second`), or of `a`, of one factor."""
    if sides is None:
        return np.zeros((factor.b if second else factor.a).size, np.float32)
    inputs, outputs = sides
    gradient = outputs.T @ (inputs @ factor.a.T) if second else (outputs @ factor.b).T @ inputs
    return np.asarray(gradient, dtype=np.float32).reshape(-1)


def _next_item(
    model: LinearModel, given: _Pass, negatives: Ints | None, log_weight: float
) -> tuple[Floats, Floats | None]:
    """(P, d) gradient with respect to the query, and (P, N) with respect to every score (None if sampled)."""
    example, places = given.example, np.arange(len(given.example.targets))
    aimed = (example.aims > 0).astype(np.float32)
    share = (aimed / max(float(aimed.sum()), 1.0))[:, None]
    targets = model.index.vectors(example.targets)
    if negatives is not None:
        rows = model.index.vectors(negatives)
        scores = given.query @ rows.T + (model.prior[negatives] + np.float32(log_weight))
        target = (given.query * targets).sum(1) + model.prior[example.targets]
        others, own = _softmax(scores, target, np.isin(negatives, example.own))
        return share * (others @ rows + (own - 1)[:, None] * targets), None
    scores = _all_scores(model, given.query)
    target = scores[places, example.targets]
    others, own = _softmax(scores, target, _mine(example.own, len(model.index)))
    np.add.at(others, (places, example.targets), own - 1)
    coefficients = share * others
    pull = np.zeros_like(given.query)
    for block in _blocks(model):
        pull += coefficients[:, block] @ model.index.vectors(block)
    if "items" in model.factors:
        pull += model.factors["items"].pull_back(coefficients)
    return pull, coefficients


def _intent(model: LinearModel, given: _Pass) -> Floats:
    """(P, d) gradient with respect to what the head asks for: binary cross-entropy."""
    labels, targets = given.example.intents, model.index.vectors(given.example.targets)
    wanted = given.query
    if "intent_proj" in model.factors:
        wanted = wanted + model.factors["intent_proj"].apply(given.taste)
    log_odds = (wanted * targets).sum(1)
    likely = 0.5 * (1 + np.tanh(log_odds / 2))
    return _own_mean(likely - np.nan_to_num(labels), ~np.isnan(labels)) * targets


def _rating(model: LinearModel, given: _Pass) -> Floats:
    """(P, d) gradient with respect to what the head asks for: squared error around the usual rating."""
    labels, targets = given.example.ratings, model.index.vectors(given.example.targets)
    above = np.zeros_like(given.taste)
    if "rating_proj" in model.factors:
        above = model.factors["rating_proj"].apply(given.taste)
    error = given.example.usual + (above * targets).sum(1) - np.nan_to_num(labels)
    return _own_mean(2 * error, ~np.isnan(labels)) * targets


def _own_mean(slopes: Floats, known: Bools) -> Floats:
    """(P, 1) each position's part of a mean over the example's own labels."""
    part: Floats = (np.where(known, slopes, 0.0) / max(int(known.sum()), 1)).astype(np.float32)[:, None]
    return part


def _all_scores(model: LinearModel, queries: Floats) -> Floats:
    """(P, N) scores of all items for (P, d) queries; the index is read in blocks."""
    scores = np.concatenate([queries @ model.index.vectors(block).T for block in _blocks(model)], axis=1)
    if "items" in model.factors:
        scores += model.factors["items"].apply(queries)
    scores += model.prior
    return scores


def _blocks(model: LinearModel) -> Iterator[slice]:
    items = len(model.index)
    return (slice(start, min(start + _BLOCK, items)) for start in range(0, items, _BLOCK))


def _softmax(scores: Floats, target: Floats, mine: Bools) -> tuple[Floats, Floats]:
    """(P, R) probabilities of the others, 0 for what is the example's own, and (P,) of the target."""
    others = np.where(mine, -np.inf, scores)
    total = np.logaddexp(target, _log_sum(others))
    return np.exp(others - total[:, None]).astype(np.float32), np.exp(target - total).astype(np.float32)


def _log_sum(scores: Floats) -> Floats:
    """(P,) log of the sum of exponentials; minus infinity where nothing is summed."""
    most = scores.max(axis=1, initial=-np.inf, keepdims=True)
    safe = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        summed: Floats = (np.log(np.exp(scores - safe).sum(1)) + safe[:, 0]).astype(np.float32)
    return summed


def _mine(own: Ints, items: int) -> Bools:
    """(N,) which items are the example's own positives."""
    marks = np.zeros(items, dtype=np.bool_)
    marks[own[own >= 0]] = True
    return marks
