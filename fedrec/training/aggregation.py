"""The server's mean of updates, and what it does with it: FedAvg, momentum or Adam.

Every update has weight 1 and the sum is divided by the EXPECTED cohort, a constant: the
sensitivity then does not depend on who replied.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Bools, Ints
from fedrec.errors import OverNormError, UnsafeUpdateError
from fedrec.federation_config import FederationConfig
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.mechanism import Doubles, bounded_sum, clip_update, l2_norm
from fedrec.training.blocks import Block, total_size
from fedrec.training.robust import EVERYBODY, Groups, median_of_means

_FLOAT32 = np.dtype(np.float32)


class UpdateSum:
    """A running float64 sum of updates, by group; memory does not grow with the cohort.

    size: P, of the first block. blocks: what a reply consists of where the server bounds
    every client (`central` mode); without them a reply is added as it is, if its L2 norm is
    at most `norm_bound`. groups: whose means are taken apart, see `robust`.
    """

    def __init__(
        self, size: int, *, blocks: Sequence[Block] = (), norm_bound: float | None = None, groups: Groups = EVERYBODY
    ) -> None:
        self._blocks = blocks
        self._norm_bound = norm_bound
        self._groups = groups
        self._shape = (total_size(blocks) if blocks else size,)
        self._sums: Doubles = np.zeros((groups.count, *self._shape))
        self._counts = [0] * groups.count
        self.count = 0

    def add(self, update: npt.NDArray[np.floating[Any]], *, client: int = 0) -> None:
        """Add one update to the sum of its client's group.

        Raises UnsafeUpdateError if its size or an entry is wrong, OverNormError if it is too long.
        """
        self._require_sound(update)
        group = self._groups.of(client)
        total = self._sums[group]
        np.add(total, self._bounded(update) if self._blocks else update, total)
        self._counts[group] += 1
        self.count += 1

    def add_all(self, updates: npt.NDArray[np.float32], *, clients: Ints) -> Bools:
        """Add the sound ones of many updates, (C, P); returns which, (C,).

        The same as `add` for each of them but for the order of the sum.
        """
        if updates.shape != (len(clients), *self._shape) or updates.dtype != _FLOAT32:
            raise UnsafeUpdateError(
                f"Updates of shape {updates.shape} are not {len(clients)} of {self._shape} numbers."
            )
        sound = all_finite(updates)
        if self._norm_bound is not None:
            sound &= l2_norm(updates.astype(np.float64)) <= self._norm_bound
        rows, heard = (updates, clients) if sound.all() else (updates[sound], clients[sound])
        if self._groups.count == 1:
            self._add_rows(rows, group=0)
        else:
            groups = np.array([self._groups.of(client) for client in heard.tolist()], dtype=np.int64)
            for group in np.unique(groups).tolist():
                self._add_rows(rows[groups == group], group=group)
        self.count += len(rows)
        return sound

    def _add_rows(self, rows: npt.NDArray[np.float32], *, group: int) -> None:
        start = 0
        for size, bound in self._bounds():
            part = rows[:, start : start + size]
            self._sums[group, start : start + size] += bounded_sum(part, clip_norm=bound)
            start += size
        self._counts[group] += len(rows)

    def _bounds(self) -> list[tuple[int, float | None]]:
        """The size of each part of an update, and its bound where it has one."""
        return [(block.size, block.clip_norm) for block in self._blocks] or [(self._shape[0], None)]

    @property
    def empty_groups(self) -> int:
        """How many groups nobody replied in; with one, a median of means does not withstand what it says."""
        return self._counts.count(0) if self._groups.count > 1 else 0

    @property
    def value(self) -> Doubles:
        """The sum so far."""
        whole: Doubles = self._sums[0] if self._groups.count == 1 else self._sums.sum(axis=0)
        return whole

    def mean(self, *, expected: int) -> Doubles:
        """The sum divided by the expected cohort, or the median of the groups' means at the same scale."""
        if self._groups.count == 1:
            return self.value / expected
        # Who is missing counts as a zero, as in the plain mean.
        return median_of_means(self._sums, self._counts) * (self.count / expected)

    def _require_sound(self, update: npt.NDArray[np.floating[Any]]) -> None:
        if update.shape != self._shape or update.dtype != _FLOAT32:
            raise UnsafeUpdateError(
                f"An update of shape {update.shape} and type {update.dtype} is not {self._shape} numbers."
            )
        # A finite sum of squares spares the look at every entry; squares of finite ones can overflow.
        # Of numpy's products this one says nothing of that to the log.
        if not math.isfinite(np.vdot(update, update)) and not np.isfinite(update).all():
            raise UnsafeUpdateError("An update is not finite.")
        if self._norm_bound is not None and l2_norm(update.astype(np.float64)) > self._norm_bound:
            raise OverNormError(f"An update is longer than federation.norm_bound {self._norm_bound:g}.")

    def _bounded(self, update: npt.NDArray[np.floating[Any]]) -> Doubles:
        """Every block at its own bound, whatever the client has done: a hostile one moves the sum no further."""
        parts, start = [], 0
        for block in self._blocks:
            part = update[start : start + block.size]
            parts.append(clip_update(part, clip_norm=block.clip_norm) if block.clip_norm else part.astype(np.float64))
            start += block.size
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class ServerState:
    """The shared adapter after `round` rounds, and the server optimizer's memory.

    adapter: (P,) float32, exactly what clients receive. first, second: (P,) float64
    running moments (zeros where the optimizer keeps none). steps: rounds that moved it.
    """

    round: int
    adapter: FlatAdapter
    first: Doubles
    second: Doubles
    steps: int

    @classmethod
    def start(cls, adapter: FlatAdapter) -> "ServerState":
        """Before the first round."""
        return cls(0, adapter, np.zeros(len(adapter)), np.zeros(len(adapter)), 0)

    def skip(self) -> "ServerState":
        """A dropped round: counted, nothing moved."""
        return replace(self, round=self.round + 1)

    def advance(self, mean_update: Doubles, config: FederationConfig) -> "ServerState":
        """One server step along the mean update."""
        step, first, second = _STEPS[config.server_optimizer](self, mean_update)
        with np.errstate(over="ignore"):  # the caller drops a round that overflows
            adapter = (self.adapter + config.server_rate * step).astype(np.float32)
        return ServerState(self.round + 1, adapter, first, second, self.steps + 1)


def all_finite(updates: npt.NDArray[np.float32]) -> Bools:
    """(C,) whether every entry of a row is finite.

    >>> all_finite(np.array([[1.0, 3e38], [np.nan, 0.0]], dtype=np.float32)).tolist()
    [True, False]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: Bools = np.isfinite(np.vecdot(updates, updates))
    for row in np.flatnonzero(~finite):  # a sum of squares overflows before its entries do
        finite[row] = np.isfinite(updates[row]).all()
    return finite


_Step = tuple[Doubles, Doubles, Doubles]
_MOMENTUM = 0.9
_SECOND = 0.99
_EPSILON = 1e-8


def _fedavg(state: ServerState, mean: Doubles) -> _Step:
    return mean, state.first, state.second


def _momentum(state: ServerState, mean: Doubles) -> _Step:
    first = _MOMENTUM * state.first + mean
    return first, first, state.second


def _adam(state: ServerState, mean: Doubles) -> _Step:
    """Source: Reddi et al. 2021, arXiv:2003.00295 (FedAdam), with Adam's bias correction."""
    first = _MOMENTUM * state.first + (1 - _MOMENTUM) * mean
    second = _SECOND * state.second + (1 - _SECOND) * mean**2
    steps = state.steps + 1
    unbiased = first / (1 - _MOMENTUM**steps)
    scale = np.sqrt(second / (1 - _SECOND**steps)) + _EPSILON
    return unbiased / scale, first, second


_STEPS: Mapping[str, Callable[[ServerState, Doubles], _Step]] = {
    "fedavg": _fedavg,
    "momentum": _momentum,
    "adam": _adam,
}
