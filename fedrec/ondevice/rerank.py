"""From the best candidates to a list: variety, shares for less known and new items, caps.

Greedy maximal marginal relevance under caps and shares. Caps come before shares. Where
the candidates cannot meet a rule it gives way, in this order: a topic's share, the rest of
items that were shown often, a provider's share.
Source: Carbonell and Goldstein 1998, doi:10.1145/290941.291025.
"""

from dataclasses import dataclass, fields
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.errors import ConfigError, DataError

Codes = npt.NDArray[np.signedinteger[Any]]

BEST_MATCH = "best match"
FOR_VARIETY = "for variety"
LESS_KNOWN = "less known"
NEW = "new"
SHOWN_LESS = "from a provider shown less"

# Values closer than this part of the candidates' spread are level: the provider shown less goes first.
_LEVEL = 0.02
# What .57 * 100 lacks of 57 in floating point.
_SLACK = 1e-9
_LONG_TAIL, _FRESH, _BOTH = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """How the person wants lists to be; shares are of the list's length.

    diversity: 0 is the plain order, 1 variety first. long_tail_share, fresh_share: at least
    this much goes to less known and to new items. provider_share, topic_share: most that
    one provider or one topic may take; 1 is off. max_shown: an item shown this often
    without being acted upon rests; 0 is off.
    """

    # On ml-latest-small it changes validation NDCG@10 of .0836 by -.0008 [-.0043, .0027]; .7 by -.0141.
    diversity: float = 0.3
    long_tail_share: float = 0.0
    fresh_share: float = 0.0
    provider_share: float = 1.0
    topic_share: float = 1.0
    max_shown: int = 0

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise ConfigError(f"{field.name} must be a number from 0 to 1.")
            if not 0 <= value <= 1:
                raise ConfigError(f"{field.name} is {value:g}. Give a number from 0 to 1.")
        if isinstance(self.max_shown, bool) or not isinstance(self.max_shown, int) or self.max_shown < 0:
            raise ConfigError("max_shown must be a whole number: how often an item may be shown, or 0 for no limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The M items that a list is chosen from, best first.

    rows: (M,) of the catalogue. scores: (M,). vectors: (M, d), of any length.
    categories, providers: (M,) codes, -1 where an item has none (those are never capped).
    long_tail, fresh: (M,). shown: (M,) times shown without being acted upon.
    provider_shown: (M,) times that anything of the item's provider was shown, if known.
    """

    rows: Ints
    scores: Floats
    vectors: Floats
    categories: Codes
    providers: Codes
    long_tail: Bools
    fresh: Bools
    shown: Ints
    provider_shown: Ints | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Ranking:
    """positions: into the candidates, in the list's order. placed: why each is where it is."""

    positions: Ints
    placed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.positions)


def rerank(candidates: Candidates, *, k: int, steering: Steering) -> Ranking:
    """Choose and order min(k, M) of the candidates.

    With diversity 0, no shares and no caps this is the candidates' own order by score.
    Raises DataError for a score that is not finite.
    """
    if not np.isfinite(candidates.scores).all():
        raise DataError("A candidate's score is not finite. Install another release or roll back.")
    order = np.argsort(-candidates.scores, kind="stable")
    length = max(0, min(k, len(order)))
    choice = _Choice(candidates, order, length, steering)
    placed = tuple(choice.pick() for _ in range(length))
    return Ranking(order[choice.picked], placed)


class _Cap:
    """How much of the list each code has taken, against the most that one code may take."""

    def __init__(self, codes: Codes, share: float, length: int) -> None:
        self.codes = np.unique(codes, return_inverse=True)[1] if share < 1 else None
        self.capped = codes >= 0
        self.most = max(1, floor(share * length + _SLACK))
        self.taken = np.zeros(len(codes) + 1, dtype=np.int64)

    def open(self) -> Bools | None:
        """(M,) whether one more of each candidate's code may come; None where nothing is capped."""
        return None if self.codes is None else self.taken[self.codes] < self.most

    def take(self, place: int) -> None:
        """Count one item of the code of the candidate at `place`."""
        if self.codes is not None and self.capped[place]:
            self.taken[self.codes[place]] += 1


class _Choice:
    """The list so far; candidates are held in descending order of score."""

    def __init__(self, candidates: Candidates, order: Ints, length: int, steering: Steering) -> None:
        self.steering, self.length = steering, length
        self.relevance = _relevance(candidates.scores[order])
        self.units = _units(candidates.vectors[order]) if steering.diversity else None
        self.nearest: Floats | None = None
        self.providers = candidates.providers[order]
        self.provider_cap = _Cap(self.providers, steering.provider_share, length)
        self.topic_cap = _Cap(candidates.categories[order], steering.topic_share, length)
        self.types = candidates.long_tail[order] * _LONG_TAIL + candidates.fresh[order] * _FRESH
        self.due = [ceil(share * length - _SLACK) for share in (steering.long_tail_share, steering.fresh_share)]
        self.awake = candidates.shown[order] < steering.max_shown if steering.max_shown else None
        before = candidates.provider_shown
        self.exposure = np.zeros(len(order)) if before is None else before[order].astype(np.float64)
        self.left = np.ones(len(order), dtype=np.bool_)
        self.picked: list[int] = []

    def pick(self) -> str:
        """Put the next item on the list and say why it is there."""
        pool = self._within_caps()
        value = self._value()
        free = int(np.where(pool, value, -np.inf).argmax())
        wanted = self._within_shares(pool)
        place = int(np.where(wanted, value, -np.inf).argmax())
        reason = FOR_VARIETY if pool[:place].any() else BEST_MATCH
        if not wanted[free]:
            reason = LESS_KNOWN if self.types[place] & _LONG_TAIL and self._missing(0) else NEW
        elif self.steering.provider_share < 1:
            level = self._least_exposed(wanted, value, place)
            reason, place = (SHOWN_LESS, level) if level != place else (reason, place)
        self._put(place)
        return reason

    def _value(self) -> Floats:
        if self.nearest is None or not self.steering.diversity:
            return self.relevance
        weight = np.float32(self.steering.diversity)
        return (1 - weight) * self.relevance - weight * self.nearest

    def _within_caps(self) -> Bools:
        """What may come next: all that is left where no rule can be met any more."""
        pool = self.left
        for rule in (self.provider_cap.open(), self.awake, self.topic_cap.open()):
            if rule is not None and (pool & rule).any():
                pool = pool & rule
        return pool

    def _within_shares(self, pool: Bools) -> Bools:
        """The part of the pool from which the shares can still be met, and are met evenly down the list."""
        if not any(self.due):
            return pool
        counts = np.bincount(self.types[pool], minlength=4)
        missing = [
            min(self._missing(0), int(counts[_LONG_TAIL] + counts[_BOTH])),
            min(self._missing(1), int(counts[_FRESH] + counts[_BOTH])),
        ]
        both, slots = int(counts[_BOTH]), self.length - len(self.picked)
        # How many slots the shares need after an item of each type was placed.
        after = np.array([_slots(missing, both, kind) for kind in range(4)])
        # More than both shares could ever need: what is not there never sets the measure.
        after = np.where(counts > 0, after, 2 * self.length + 1)
        fits = after <= max(slots - 1, int(after.min()))
        for share, flag in ((1, _FRESH), (0, _LONG_TAIL)):
            flagged = (np.arange(4) & flag > 0) & fits & (counts > 0)
            if self._behind(share) and flagged.any():
                fits = flagged
        return pool & fits[self.types]

    def _missing(self, share: int) -> int:
        have = int(np.count_nonzero(self.types[self.picked] & (_LONG_TAIL, _FRESH)[share]))
        return max(0, self.due[share] - have)

    def _behind(self, share: int) -> bool:
        """Whether fewer of a share's items are placed than is due by the slot to fill now."""
        due = self.due[share]
        by_now = due * (len(self.picked) + 1) // max(1, self.length)
        return self._missing(share) > due - by_now

    def _least_exposed(self, wanted: Bools, value: Floats, place: int) -> int:
        level = np.flatnonzero(wanted & (value >= value[place] - _LEVEL))
        least = level[self.exposure[level] == self.exposure[level].min()]
        return int(least[value[least].argmax()])

    def _put(self, place: int) -> None:
        self.picked.append(place)
        self.left[place] = False
        self.provider_cap.take(place)
        self.topic_cap.take(place)
        self.exposure[(self.providers == self.providers[place]) & (self.providers >= 0)] += 1
        if self.units is not None:
            near = self.units @ self.units[place]
            self.nearest = near if self.nearest is None else np.maximum(self.nearest, near)


def _slots(missing: list[int], both: int, kind: int) -> int:
    """The fewest slots in which both shares can be met after one item of `kind` (bits) was placed."""
    long_tail = max(0, missing[0] - (kind & 1))
    fresh = max(0, missing[1] - (kind >> 1))
    return max(long_tail, fresh, long_tail + fresh - (both - (kind == _BOTH)))


def _relevance(scores: Floats) -> Floats:
    """Scores from 0 to 1 over the candidates, so that the slider means the same at every scale."""
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    spread: Floats = ((scores - low) / (high - low)).astype(np.float32) if high > low else np.zeros_like(scores)
    return spread


def _units(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return units
