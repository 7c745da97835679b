"""Personal weights: a user vector, trained on the device from its own events, that never leaves it.

An item's score gains the product of its vector with the user vector; everything else stays
frozen. The vector is bound to the release and to the events that it was trained on.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from fedrec.data.sequences import Floats, History, Ints
from fedrec.data.store.store import Store
from fedrec.model.linear import LinearModel
from fedrec.training.edge_step import HistoryReader
from fedrec.training.examples import Shape, make_example

PERSONAL = "personal"
RETRAIN_AFTER = 20

_SWITCH = "personal.on"
# They do not help: on ml-latest-small, with a federated adapter, they change validation NDCG@10
# of .0836 by -.0003 [-.0020, .0013]; of .0571 without one by -.0001 [-.0016, .0014]. No rate
# from .02 to 5, no number of steps and no full softmax did better than +.0010 [-.0027, .0051].
_ON_BY_DEFAULT = False
_POSITIONS = 100
_NEGATIVES = 512
_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a user vector learns from: P positions of one history, and S items of others to tell them from.

    targets: (P, d) vectors of the items chosen; levels: (P,) their scores without personal
    weights. others: (S, d); rivals: (P, S) their scores at each position.
    """

    targets: Floats
    levels: Floats
    others: Floats
    rivals: Floats

    def loss(self, vector: Floats) -> float:
        """The mean cost of the sampled softmax at a user vector (d,)."""
        target, rest = self._scores(vector)
        return float((_log_sum(target, rest) - target).mean())

    def gradient(self, vector: Floats) -> Floats:
        """(d,) of `loss`."""
        target, rest = self._scores(vector)
        total = _log_sum(target, rest)
        own = np.exp(target - total) - 1
        other = np.exp(rest - total[:, None])
        slope: Floats = ((own @ self.targets + other.sum(axis=0) @ self.others) / len(target)).astype(np.float32)
        return slope

    def _scores(self, vector: Floats) -> tuple[Floats, Floats]:
        return self.levels + self.targets @ vector, self.rivals + self.others @ vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How personal weights are trained: full-batch SGD from zero."""

    steps: int = 5
    rate: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What stored personal weights are bound to. entries, digest: how many entries they saw, and which."""

    layout: str
    release: str
    entries: int
    digest: str


def switched_on(store: Store) -> bool:
    """Whether lists use personal weights; off unless the person turned them on."""
    return bool(store.value(_SWITCH, _ON_BY_DEFAULT))


def switch(store: Store, *, on: bool) -> None:
    """Use personal weights from now on, or none: turned off they are forgotten."""
    with store.transaction():
        store.set_value(_SWITCH, on)
        if not on:
            store.delete_blob(PERSONAL)


def personal_weights(
    store: Store, model: LinearModel, history: History, texts: Floats, *, release: str
) -> Floats | None:
    """(d,) what joins the query, as fresh as it has to be; None where the person has it off.

    Trained anew after a release, once `RETRAIN_AFTER` entries came, and when an entry that
    they saw is gone. history, texts: as `own_history` reads them.
    """
    if not switched_on(store):
        return None
    kept = _read(store, width=model.index.width)
    if kept is not None and _current(kept[0], history, layout=model.layout.hash, release=release):
        return kept[1]
    vector = trained(model, history, texts)
    facts = Kept(layout=model.layout.hash, release=release, entries=len(history), digest=_digest(history, len(history)))
    head = json.dumps(asdict(facts)).encode()
    with store.transaction():
        # The person may have turned them off, or erased everything, while they were trained.
        if not switched_on(store):
            return None
        store.set_blob(PERSONAL, head + b"\n" + vector.astype("<f4").tobytes())
    return vector


def trained(model: LinearModel, history: History, texts: Floats, *, how: Training | None = None) -> Floats:
    """(d,) the user vector of a history, zero where there is nothing to learn from; the same every time."""
    vector = np.zeros(model.index.width, np.float32)
    lesson = lesson_of(model, history, texts)
    if lesson is None:
        return vector
    settings = how or Training()
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(settings.steps):
            vector -= np.float32(settings.rate) * lesson.gradient(vector)
        # What did not help on what it saw, or overflowed, helps nowhere.
        helps = lesson.loss(vector) < lesson.loss(np.zeros_like(vector))
    return vector if helps else np.zeros_like(vector)


def lesson_of(model: LinearModel, history: History, texts: Floats, *, negatives: int = _NEGATIVES) -> Lesson | None:
    """The last positions of a history against a fixed sample of the public catalogue; None without any."""
    items = len(model.index)
    shape = Shape(positions=_POSITIONS, window=model.config.window)
    example = make_example(history, HistoryReader(model, texts), shape, items=items)
    if example is None or not (example.aims > 0).any():
        return None
    aimed = example.aims > 0
    chosen: Ints = example.targets[aimed]
    query = model.query(example.inputs[0][aimed])
    sample = np.random.default_rng(_SEED).choice(items, size=min(negatives, items), replace=False)
    sample = np.sort(sample[~np.isin(sample, example.own)])
    targets, others = model.index.vectors(chosen), model.index.vectors(sample)
    levels = (query * targets).sum(axis=1) + model.prior[chosen]
    rivals = query @ others.T + model.prior[sample]
    if "items" in model.factors:
        residual = model.factors["items"]
        levels = levels + ((query @ residual.a.T) * residual.b[chosen]).sum(axis=1)
        rivals = rivals + (query @ residual.a.T) @ residual.b[sample].T
    return Lesson(targets=targets, levels=levels, others=others, rivals=rivals)


def _log_sum(target: Floats, rest: Floats) -> Floats:
    """(P,) log of the sum of exponentials over each position's target and the others."""
    most = np.maximum(rest.max(axis=1, initial=-np.inf), target)
    summed: Floats = most + np.log(np.exp(target - most) + np.exp(rest - most[:, None]).sum(axis=1))
    return summed


def _current(kept: Kept, history: History, *, layout: str, release: str) -> bool:
    seen = kept.entries
    bound = (kept.layout, kept.release) == (layout, release)
    return bound and seen <= len(history) < seen + RETRAIN_AFTER and kept.digest == _digest(history, seen)


def _digest(history: History, entries: int) -> str:
    """Changes when one of the first `entries` does: what was undone or expired must be unlearned."""
    digest = hashlib.sha256()
    for column in (history.rows, history.times, history.weights):
        digest.update(np.ascontiguousarray(column[:entries]).data)
    return digest.hexdigest()


def _read(store: Store, *, width: int) -> tuple[Kept, Floats] | None:
    content = store.blob(PERSONAL)
    kept = _head(content) if content is not None else None
    if content is None or kept is None:
        return None
    vector = np.frombuffer(content.partition(b"\n")[2], dtype="<f4").astype(np.float32)
    return (kept, vector) if vector.shape == (width,) and np.isfinite(vector).all() else None


def _head(content: bytes) -> Kept | None:
    try:
        return Kept(**json.loads(content.partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None
