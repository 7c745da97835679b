"""Every baseline of a report, with the grid that it is tuned over."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from fedrec.data.splits import Split
from fedrec.errors import ConfigError
from fedrec.evaluation.baselines.ease import Ease
from fedrec.evaluation.baselines.item_knn import ItemKnn, Similarity
from fedrec.evaluation.baselines.popularity import Popularity
from fedrec.evaluation.baselines.tuning import Choice, Make, tune
from fedrec.evaluation.baselines.zero_shot import ZeroShotPopularity, ZeroShotText
from fedrec.evaluation.protocol import Evaluation, Scorer, evaluate

NAMES = ("popularity", "item_knn", "ease", "zero_shot_text", "zero_shot_popularity")
_TEXT_NAMES = ("zero_shot_text", "zero_shot_popularity")

_MIXES = (
    *(((decay, 1.0),) for decay in (0.7, 0.0, 0.5, 0.9, 0.95, 1.0)),
    ((0.0, 0.2), (0.7, 0.5), (0.95, 0.3)),
    ((0.5, 0.5), (0.9, 0.5)),
    ((0.7, 0.7), (1.0, 0.3)),
)
# The first value of each setting is where tuning starts: figures that did well on films.
GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "popularity": {},
    "item_knn": {
        "decay": (0.8, 1.0, 0.9, 0.7, 0.5),
        "shrink": (50.0, 10.0, 0.0, 100.0),
        "neighbours": (20, 50, 100, 200, None),
        "damping": (0.2, 0.35, 0.5),
    },
    "ease": {"penalty": (200.0, 20.0, 50.0, 100.0, 500.0, 1000.0, 2000.0)},
    "zero_shot_text": {"mix": _MIXES},
    "zero_shot_popularity": {"mix": _MIXES, "beta": (0.05, 0.02, 0.03, 0.08, 0.12, 0.18, 0.25, 0.35)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBaseline:
    """A baseline with the settings that validation chose; `seconds` covers tuning and fitting."""

    name: str
    scorer: Scorer
    choice: Choice
    validation: Evaluation
    seconds: float


def all_baselines(
    split: Split,
    vectors: npt.NDArray[Any] | None,
    *,
    seed: int,
    sample: int = 0,
    names: Sequence[str] = NAMES,
    progress: Callable[[str], None] | None = None,
) -> dict[str, FittedBaseline]:
    """Fit and tune the named baselines on the train part and the validation item.

    vectors: (N, d) or, with the query texts below, (N + T, d); without any, the zero-shot
    baselines are left out. sample: how many users are scored, as in `evaluate`.
    progress: called with each name before its turn.
    For the test item, hand a `.scorer` to `evaluate(..., test=True)`: it stays as fitted.
    Raises ConfigError for an unknown name.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ConfigError(f"There is no baseline `{unknown[0]}`. Choose from {', '.join(NAMES)}.")
    fitted = {}
    for name in names:
        if vectors is None and name in _TEXT_NAMES:
            continue
        if progress is not None:
            progress(name)
        fitted[name] = _fit(name, split, vectors, seed=seed, sample=sample)
    return fitted


def _fit(name: str, split: Split, vectors: npt.NDArray[Any] | None, *, seed: int, sample: int) -> FittedBaseline:
    start = time.perf_counter()
    tuned = tune(_maker(name, split, vectors), GRIDS[name], split, seed=seed)
    seconds = time.perf_counter() - start
    index = None if vectors is None else vectors[: split.sequences.items]
    found = evaluate(tuned.scorer, split, test=False, seed=seed, sample=sample, index_vectors=index)
    return FittedBaseline(name=name, scorer=tuned.scorer, choice=tuned.choice, validation=found, seconds=seconds)


def _maker(name: str, split: Split, vectors: npt.NDArray[Any] | None) -> Make:
    if name == "popularity":
        return lambda _: Popularity.fit(split)
    if name == "item_knn":
        return _knn_maker(split)
    if name == "ease":
        return lambda choice: Ease.fit(split, penalty=choice["penalty"])
    return _zero_shot_maker(split, vectors, with_popularity=name == "zero_shot_popularity")


def _knn_maker(split: Split) -> Make:
    @lru_cache(maxsize=1)
    def compare(similarity: Similarity) -> ItemKnn:
        return ItemKnn.fit(split, similarity)

    def make(choice: Choice) -> ItemKnn:
        similarity = Similarity(**{key: choice[key] for key in ("shrink", "neighbours", "damping")})
        return compare(similarity).with_decay(choice["decay"])

    return make


def _zero_shot_maker(split: Split, vectors: Any, *, with_popularity: bool) -> Make:
    popularity = Popularity.fit(split)

    def make(choice: Choice) -> Scorer:
        text = ZeroShotText.fit(vectors, items=split.sequences.items, mix=choice["mix"])
        return ZeroShotPopularity(text, popularity, choice["beta"]) if with_popularity else text

    return make
