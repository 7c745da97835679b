"""From scores to a list: who may be on it, in which order, and the reasons for each item."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.errors import ConfigError
from fedrec.ondevice.cold_start import opening
from fedrec.ondevice.context import Context
from fedrec.ondevice.explain import Reason, Words, main_reasons
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.nearest import best_items
from fedrec.ondevice.parts import parts_of
from fedrec.ondevice.rerank import BEST_MATCH, NEW, Candidates, Ranking, Steering, rerank
from fedrec.ondevice.scoring import Question, best_rows, scores_of
from fedrec.ondevice.vocabulary import TO_BEGIN_WITH

REASONS = 3
# Variety and reasons for more would take seconds.
LONGEST = 1000
# How many candidates a list is chosen from: more cost time, fewer leave re-ranking no choice.
_CANDIDATES, _PER_PLACE, _MOST_BEYOND = 100, 5, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """One item of a list. placed: why it stands where it does; reasons: the largest parts that speak for it."""

    item_id: str
    title: str
    category: str | None
    provider: str | None
    score: float
    reasons: tuple[Reason, ...]
    placed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """A list, best first. release: the id of the release that made it."""

    items: tuple[Recommended, ...]
    release: str
    milliseconds: float
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What kind of list is asked for.

    allowed: (N,). shown: (N,) and provider_shown: (P + 1,) times so far. now: seconds since 1970.
    """

    k: int
    steering: Steering
    allowed: Bools
    shown: Ints
    provider_shown: Ints
    now: int

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or not 1 <= self.k <= LONGEST:
            raise ConfigError(f"k is {self.k}: how many items to recommend is a whole number from 1 to {LONGEST}.")


def recommended(loaded: Loaded, question: Question, wish: Wish, words: Words) -> tuple[Ints, tuple[Recommended, ...]]:
    """The rows of the list and what to say of each: `k` items, and fewer where fewer are allowed."""
    if question.says_something:
        rows, values = _candidates(question, loaded, wish)
        candidates = _described(rows, values, loaded, wish)
        ranking = rerank(candidates, k=wish.k, steering=wish.steering)
    else:
        scores = scores_of(question, loaded.model)
        rows = opening(loaded.index, scores, wish.allowed, length=2 * wish.k)
        ranking = _opened(rows, loaded, wish)
    chosen = rows[ranking.positions]
    return chosen, _with_reasons(chosen, ranking.placed, loaded, question, words)


def _candidates(question: Question, loaded: Loaded, wish: Wish) -> tuple[Ints, Floats]:
    """The best allowed items, the best of those that a share was asked for, and their scores."""
    steering = wish.steering
    most = max(_CANDIDATES, min(_PER_PLACE * wish.k, wish.k + _MOST_BEYOND))
    model, nearest = loaded.model, loaded.nearest
    if nearest and not (steering.long_tail_share or steering.fresh_share):
        return best_items(question.asked, loaded.index, model.prior, wish.allowed, most=most, nearest=nearest)
    scores = scores_of(question, model)
    found = [best_rows(scores, wish.allowed, most=most)]
    if steering.long_tail_share:
        found.append(best_rows(scores, wish.allowed & loaded.long_tail, most=wish.k))
    if steering.fresh_share:
        found.append(best_rows(scores, wish.allowed & loaded.fresh(wish.now), most=wish.k))
    rows = np.unique(np.concatenate(found)) if len(found) > 1 else found[0]
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return rows, scores[rows]


def _described(rows: Ints, values: Floats, loaded: Loaded, wish: Wish) -> Candidates:
    catalogue = loaded.catalogue
    providers = catalogue.provider_codes[rows].astype(np.int64)
    return Candidates(
        rows=rows,
        scores=values,
        vectors=loaded.index.vectors(rows),
        categories=catalogue.category_codes[rows].astype(np.int64),
        providers=providers,
        long_tail=loaded.long_tail[rows],
        fresh=loaded.fresh(wish.now, rows),
        shown=wish.shown[rows],
        provider_shown=wish.provider_shown[providers],
    )


def _opened(rows: Ints, loaded: Loaded, wish: Wish) -> Ranking:
    """An opening list has its own variety; shares and caps hold for it as for any other."""
    order = np.arange(len(rows), 0, -1).astype(np.float32)
    candidates = _described(rows, order, loaded, wish)
    ranking = rerank(candidates, k=wish.k, steering=replace(wish.steering, diversity=0.0))
    placed = tuple(TO_BEGIN_WITH if each == BEST_MATCH else each for each in ranking.placed)
    return Ranking(ranking.positions, placed)


def _with_reasons(
    rows: Ints, placed: Sequence[str], loaded: Loaded, question: Question, words: Words
) -> tuple[Recommended, ...]:
    if not len(rows):
        return ()
    parts = parts_of(question, loaded.model, rows, exact=False)
    reasons = main_reasons(parts, question, words, most=REASONS)
    made = []
    for place, row in enumerate(rows.tolist()):
        item = loaded.catalogue.item(row)
        made.append(
            Recommended(
                item_id=item.item_id,
                title=item.title,
                category=item.category,
                provider=item.provider,
                score=float(parts.scores[place]),
                reasons=reasons[place],
                placed=NEW if row >= len(loaded.released.index) else placed[place],
            )
        )
    return tuple(made)
