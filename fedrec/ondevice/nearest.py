"""The best items of a large catalogue without looking at all of them: a usearch graph beside the release.

Score is an inner product plus a prior. One more coordinate makes the prior part of the
product, and another makes all rows equally long, so that the graph's idea of near is ours.
The graph only proposes; what it proposes is scored exactly, with the most popular items
and whatever was added on the device.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.errors import DataError
from fedrec.files import sync_folder
from fedrec.model.device_index import DeviceIndex
from fedrec.model.linear import LinearModel
from fedrec.ondevice.scoring import best_rows
from fedrec.release import hash_file

# Below, exact scores take less than a graph would save: 13 ms at 200,000 items on one core.
LARGE = 200_000
GRAPHS = "search"
_SUFFIX, _DIGITS = ".usearch", 32
_BLOCK = 16_384
_CONNECTIVITY, _EXPANSION = 16, 128
_PROPOSED, _LEAST_PROPOSED = 8, 512
# A prior that stands out lies far from everything in the graph: without these a tenth of the best are missed.
_POPULAR = 2048


@dataclass(frozen=True, eq=False)
class Nearest:
    """A graph over the released rows of an index.

    weight: what the prior's coordinate is multiplied with. popular: rows with the largest prior.
    """

    graph: Any
    rows: int
    weight: float
    popular: Ints

    def proposed(self, query: Floats, count: int) -> Ints:
        """Up to `count` rows that probably score best for a query (d,)."""
        asked = _eight_bits(np.concatenate([query, [self.weight, 0.0]]).astype(np.float32))
        found = self.graph.search(asked, min(count, self.rows), threads=1)
        return np.asarray(found.keys, dtype=np.int64)


def open_graph(folder: Path, model: LinearModel, *, large: int = LARGE) -> Nearest | None:
    """The graph that was built for a released model of more than `large` items; None where there is none."""
    if not _is_worth_it(model, large):
        return None
    index = _index(model)
    for path in folder.glob(f"{_key(model)}-*{_SUFFIX}"):
        # Mapped as it is, a damaged graph would lead anywhere.
        if hash_file(path).startswith(path.stem.rpartition("-")[2]):
            from usearch.index import Index

            popular = np.argsort(-model.prior, kind="stable")[:_POPULAR]
            return Nearest(Index.restore(str(path), view=True), len(index), _prior_weight(index, model.prior), popular)
    return None


def build_graph(folder: Path, model: LinearModel, *, large: int = LARGE) -> bool:
    """Build the graph of a released model of more than `large` items; returns whether there is one now.

    Takes a minute or two for 200,000 items, once per catalogue. Graphs of other catalogues go.
    """
    if not _is_worth_it(model, large):
        return False
    if open_graph(folder, model, large=large) is not None:
        return True
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".graph.", dir=folder)
    os.close(handle)
    draft = Path(name)
    try:
        _graph(_index(model), model.prior).save(name)
        for old in folder.glob(f"*{_SUFFIX}"):
            old.unlink()
        draft.replace(folder / f"{_key(model)}-{hash_file(draft)[:_DIGITS]}{_SUFFIX}")
        sync_folder(folder)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _graph(index: DeviceIndex, prior: Floats) -> Any:
    from usearch.index import Index

    graph = Index(ndim=index.width + 2, metric="ip", dtype="i8", connectivity=_CONNECTIVITY, expansion_add=_EXPANSION)
    start = 0
    for block in _long_rows(index, prior):
        graph.add(np.arange(start, start + len(block)), block)
        start += len(block)
    return graph


def _key(model: LinearModel) -> str:
    """Names the rows and the prior that a graph is over."""
    weighted = hashlib.sha256(model.prior.astype("<f4").tobytes()).hexdigest()
    return hashlib.sha256(f"{_index(model).content_hash}|{weighted}".encode()).hexdigest()[:_DIGITS]


def best_items(
    query: Floats, index: DeviceIndex, prior: Floats, allowed: Bools, *, most: int, nearest: Nearest | None
) -> tuple[Ints, Floats]:
    """The `most` best allowed rows for a query (d,), best first, and their exact scores.

    Without a graph, or where too few of what it proposes are allowed, every row is scored.
    """
    wanted = min(most, int(np.count_nonzero(allowed)))
    rows = _proposed(query, index, allowed, most, nearest) if nearest else None
    if rows is None or len(rows) < wanted:
        scores = (index.scores(query) + prior).astype(np.float32, copy=False)
        best = best_rows(scores, allowed, most=most)
        return best, scores[best]
    found = index.vectors(rows) @ np.asarray(query, dtype=np.float32) + prior[rows]
    order = np.lexsort((rows, -found))[:most]
    return rows[order], found[order].astype(np.float32, copy=False)


def _is_worth_it(model: LinearModel, large: int) -> bool:
    """Whether a graph saves anything; it knows nothing of an item residual, which changes with every release."""
    return len(model.index) > large and "items" not in model.factors and find_spec("usearch") is not None


def _index(model: LinearModel) -> DeviceIndex:
    if not isinstance(model.index, DeviceIndex):
        raise DataError("A graph is built over the int8 index of a release. Open the release with it.")
    return model.index


def _proposed(query: Floats, index: DeviceIndex, allowed: Bools, most: int, nearest: Nearest) -> Ints:
    """Allowed rows: what the graph proposes, what is popular, and whatever was added behind the graph."""
    proposed = nearest.proposed(query, max(_LEAST_PROPOSED, _PROPOSED * most))
    rows = np.unique(np.concatenate([proposed, nearest.popular, np.arange(nearest.rows, len(index))]))
    kept: Ints = rows[allowed[rows]]
    return kept


def _long_rows(index: DeviceIndex, prior: Floats) -> Iterator[npt.NDArray[np.int8]]:
    """Blocks of (B, d + 2) int8: vector, prior, and what brings every row to the same length."""
    weight = _prior_weight(index, prior)
    squares = np.concatenate([np.square(block).sum(1) for block in _with_prior(index, prior, weight)])
    missing = np.sqrt(np.maximum(squares.max() - squares, 0.0)).astype(np.float32)
    largest = max(_largest_entry(index), float(missing.max()))
    start = 0
    for block in _with_prior(index, prior, weight):
        whole = np.concatenate([block, missing[start : start + len(block), None]], axis=1)
        start += len(block)
        yield _eight_bits(whole, largest=largest)


def _with_prior(index: DeviceIndex, prior: Floats, weight: float) -> Iterator[Floats]:
    for start in range(0, len(index.codes), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(index.codes)))
        yield np.concatenate([index.vectors(part), prior[part, None] / np.float32(weight)], axis=1)


def _prior_weight(index: DeviceIndex, prior: Floats) -> float:
    """Brings the prior to the size of the other coordinates: eight bits are shared by all of them."""
    largest = float(np.abs(prior[: len(index.codes)]).max())
    return largest / _largest_entry(index) or 1.0


def _largest_entry(index: DeviceIndex) -> float:
    # The code of a row's largest entry is 127.
    return float(index.scales.max()) * 127 or 1.0


def _eight_bits(values: Floats, *, largest: float | None = None) -> npt.NDArray[np.int8]:
    most = largest or float(np.abs(values).max()) or 1.0
    codes: npt.NDArray[np.int8] = np.clip(np.rint(values * (127 / most)), -127, 127).astype(np.int8)
    return codes
