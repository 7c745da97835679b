"""From what a person did to the score of every item: one query, one pass over the index."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.errors import VerificationError
from fedrec.model.history import decay_weights
from fedrec.model.linear import LinearModel
from fedrec.ondevice.live import KINDS, Entries
from fedrec.ondevice.turned_down import TURNED_DOWN, pushes

_BLOCK = 64
_STRENGTHS = np.array([TURNED_DOWN.get(kind, 0.0) for kind in KINDS], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one person asks of the index right now.

    counted: (K, L) how much each entry counts in each decayed sum. sums: (K, d).
    against: (L,) how strongly each entry pushes like items away. extra: (d,) what joins the
    query beside the history: personal weights and what was turned down.
    """

    entries: Entries
    counted: Floats
    sums: Floats
    against: Floats
    personal: Floats | None
    query: Floats
    extra: Floats | None

    @property
    def asked(self) -> Floats:
        """(d,) what is multiplied with the item vectors."""
        return self.query if self.extra is None else self.query + self.extra

    @property
    def says_something(self) -> bool:
        """Whether the history says anything about what the person likes."""
        return bool(self.counted.any())


def question_of(entries: Entries, model: LinearModel, *, personal: Floats | None = None) -> Question:
    """The question of a person with these entries.

    personal: (d,) the user vector. Raises VerificationError if the release makes it not finite.
    """
    here = np.array([len(entries)])
    counted = decay_weights(entries.weights, here, decays=model.config.decays)
    sums = (counted @ entries.vectors).astype(np.float32)[0]
    against = _against(entries, model.config.scale)
    query = model.query(sums)
    extra = personal
    if against.any():
        pushed = -(against @ entries.vectors)
        extra = pushed if extra is None else extra + pushed
    if not np.isfinite(query).all() or (extra is not None and not np.isfinite(extra).all()):
        raise VerificationError("This release's scores are not finite for this history. Roll back to the one before.")
    return Question(
        entries=entries, counted=counted[0], sums=sums, against=against, personal=personal, query=query, extra=extra
    )


def scores_of(question: Question, model: LinearModel) -> Floats:
    """(N,) float32, of every item."""
    if question.extra is None:
        return model.scores(question.query)
    scores = model.index.scores(question.asked) + model.prior
    # The item residual was learned for what the history asks, not for what joins it on the device.
    return scores + model.factors["items"].apply(question.query) if "items" in model.factors else scores


def best_rows(scores: Floats, allowed: Bools, *, most: int) -> Ints:
    """The rows of the `most` best allowed items, best first; ties in the catalogue's order.

    >>> best_rows(np.array([1.0, 3.0, 3.0, 2.0]), np.array([True, True, True, False]), most=2).tolist()
    [1, 2]
    """
    open_scores = np.where(allowed, scores, -np.inf)
    rows = np.flatnonzero(allowed & (open_scores >= _surely_enough(open_scores, most)))
    return rows[np.argsort(-scores[rows], kind="stable")][:most]


def _surely_enough(scores: npt.NDArray[Any], most: int) -> float:
    """A score that at least `most` rows reach, if there are so many: few rows are left to sort then.

    It is the `most`-th best of the blocks' maxima: each of those blocks has a row that reaches it.
    """
    blocks = len(scores) // _BLOCK
    if blocks < most:
        return -np.inf
    maxima = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    return float(np.partition(maxima, blocks - most)[blocks - most])


def _against(entries: Entries, scale: float) -> Floats:
    """(L,) how strongly each entry pushes like items away."""
    # What belongs to this moment only neither excuses nor ages what was turned down.
    weights = np.where(entries.ids > 0, entries.weights, np.float32(0))
    return np.float32(scale) * pushes(_STRENGTHS[entries.kinds], entries.rows, weights)
