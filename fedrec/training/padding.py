"""Units side by side as tensors, padded to the longest of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedrec.data.sequences import Ints
from fedrec.training.packing import Units

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """E units of C clients; P positions, L entries that are read or aimed at, and M own positives at most.

    owner: (E,) whose each unit is, ascending. rows: (E, L) of the vectors that are read; weights: (E, L).
    places: (E, P) where among the entries each position's target is.
    ages: (E, P, L) how long before a position an entry was; past: (E, P, L) its weight there, 0 for what is to come.
    targets, usual: (E, P). intents, ratings: (E, P), 0 without a label. aimed, felt, rated: (E, P) each position's
    part of the mean over its unit's own targets, intents or ratings; 0 where it has none. own: (E, M), N for none.
    """

    clients: int
    owner: Tensor
    rows: Tensor
    places: Tensor
    ages: Tensor
    past: Tensor
    targets: Tensor
    usual: Tensor
    intents: Tensor
    ratings: Tensor
    aimed: Tensor
    felt: Tensor
    rated: Tensor
    own: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> Tensor:
        """(C,) how many units each client has."""
        return torch.bincount(self.owner, minlength=self.clients)

    def per_client(self, values: Tensor) -> Tensor:
        """(C, ...) the sum over each client's units of (E, ...)."""
        if torch.equal(self.owner, torch.arange(self.clients, device=self.owner.device)):
            return values
        return values.new_zeros((self.clients, *values.shape[1:])).index_add_(0, self.owner, values)


def pad(units: Units, *, clients: int, items: int, dtype: torch.dtype, device: str, labels: bool = True) -> Padded:
    """Units whose owners are 0 to `clients` - 1 as tensors.

    items: size of the catalogue N. labels: whether intents and ratings are asked for; without, there are none.
    """
    rows, weights = _spread(units.rows, units.reads), _spread(units.weights, units.reads)
    positions = _spread(units.positions, units.starts)
    # An entry that says nothing about the taste must not age the ones that do.
    said = np.cumsum(weights > 0, axis=1)
    seen = np.take_along_axis(np.pad(said, ((0, 0), (1, 0))), positions, axis=1)
    ages = np.maximum(seen[:, :, None] - said[:, None, :], 0)
    past = np.where(np.arange(rows.shape[1]) < positions[:, :, None], weights[:, None, :], 0.0)

    def real(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=dtype)

    def whole(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

    none = torch.zeros((), dtype=dtype, device=device).expand(positions.shape)
    return Padded(
        clients=clients,
        owner=whole(units.owner),
        rows=whole(rows),
        places=whole(positions),
        ages=whole(ages),
        past=real(past),
        targets=whole(_spread(units.targets, units.starts)),
        aimed=real(_parts(_spread(units.aims, units.starts) > 0)),
        own=whole(_spread(units.own, units.owns, fill=items)),
        **{name: real(values) if labels else none for name, values in _labels(units, asked=labels).items()},
    )


def _labels(units: Units, *, asked: bool) -> dict[str, Array]:
    """What intents and ratings come to, (E, P) each; their names alone where nobody asked for them."""
    if not asked:
        return dict.fromkeys(("usual", "intents", "ratings", "felt", "rated"), np.zeros(0))
    intents, ratings = (_spread(each, units.starts, fill=np.nan) for each in (units.intents, units.ratings))
    return {
        "usual": _spread(units.usual, units.starts),
        "intents": np.nan_to_num(intents),
        "ratings": np.nan_to_num(ratings),
        "felt": _parts(~np.isnan(intents)),
        "rated": _parts(~np.isnan(ratings)),
    }


def _spread(values: Array, starts: Ints, *, fill: float = 0) -> Array:
    """(E, longest): each unit's values in a row of its own, from the left.

    >>> _spread(np.array([7, 8, 9]), np.array([0, 1, 3])).tolist()
    [[7, 0], [8, 9]]
    """
    lengths = np.diff(starts)
    wide = np.full((len(lengths), int(lengths.max(initial=0))), fill, dtype=values.dtype)
    wide[np.arange(wide.shape[1]) < lengths[:, None]] = values
    return wide


def _parts(known: Array) -> Array:
    """Each known position's part of a mean over its row."""
    parts: Array = known / np.maximum(known.sum(1, keepdims=True, dtype=np.float32), 1)
    return parts
