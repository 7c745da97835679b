"""Units side by side as tensors, padded to the longest of them."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedrec.data.sequences import Ints
from fedrec.training.packing import Units

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How units become tensors.

    asked, liked: (ages,) what an entry of an age counts in the query, and in the taste; tensors are made like these.
    items: size of the catalogue N. labels: whether intents and ratings are asked for.
    """

    asked: Tensor
    liked: Tensor
    items: int
    labels: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What intents and ratings come to, (E, P) each.

    intents, ratings: 0 without a label. usual: the mean rating so far. felt, rated: each position's part of the mean
    over its unit's own intents or ratings; 0 where it has none.
    """

    intents: Tensor
    ratings: Tensor
    usual: Tensor
    felt: Tensor
    rated: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whose E units are: (E,) place, ascending, of each one's client among C.

    share: (E,) each unit's part of the mean over its client's units. counts: (C,) units of each client, on the CPU.
    """

    place: Tensor
    share: Tensor
    counts: Ints

    @classmethod
    def of(cls, place: Ints, *, clients: int, like: Tensor) -> "Owners":
        """Of `clients` in all, as tensors like another."""
        counts = np.bincount(place, minlength=clients)
        return cls(
            place=torch.from_numpy(np.ascontiguousarray(place, dtype=np.int64)).to(like.device),
            share=torch.from_numpy(1.0 / counts[place]).to(like),
            counts=counts,
        )

    def per_client(self, values: Tensor) -> Tensor:
        """(C, ...) the sum over each client's units of (E, ...)."""
        if (self.counts == 1).all():
            return values
        return values.new_zeros((len(self.counts), *values.shape[1:])).index_add_(0, self.place, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """E units of C clients; P positions, L entries that are read or aimed at, and M own positives at most.

    owners: whose the units are. rows: (E, L) of the vectors that are read. asked, liked: (E, P, L) what
    an entry counts in the query of a position, and in its taste; 0 for what is to come. places: (E, P) where among the
    entries each position's target is. targets: (E, P). aimed: (E, P) each position's part of the mean over its unit's
    targets; 0 where it is none. own: (E, M), N for none. labels: None where nobody asked for them.
    """

    owners: Owners
    rows: Tensor
    asked: Tensor
    liked: Tensor
    places: Tensor
    targets: Tensor
    aimed: Tensor
    own: Tensor
    labels: Labels | None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, units: Ints, *, owner: Ints, clients: int, widths: tuple[int, int, int]) -> "Padded":
        """Some units. owner: (E,) of each of them. widths: their most positions, entries and own positives."""
        where = torch.from_numpy(units).to(self.rows.device)
        positions, entries, own = widths

        def some(values: Tensor, *widths: int) -> Tensor:
            for axis, width in enumerate(widths, start=1):
                if values.shape[axis] > width:
                    values = values.narrow(axis, 0, width)
            return values.index_select(0, where)

        known = self.labels
        labels = known and Labels(**{each.name: some(getattr(known, each.name), positions) for each in fields(known)})
        return Padded(
            owners=Owners.of(owner, clients=clients, like=self.owners.share),
            rows=some(self.rows, entries),
            asked=some(self.asked, positions, entries),
            liked=some(self.liked, positions, entries),
            places=some(self.places, positions),
            targets=some(self.targets, positions),
            aimed=some(self.aimed, positions),
            own=some(self.own, own),
            labels=labels,
        )


def pad(units: Units, padding: Padding, *, clients: int) -> Padded:
    """Units whose owners are 0 to `clients` - 1 as tensors."""
    rows, weights = _spread(units.rows, units.reads), _spread(units.weights, units.reads)
    positions = _spread(units.positions, units.starts)
    # An entry that says nothing about the taste must not age the ones that do.
    said = np.cumsum(weights > 0, axis=1)
    seen = np.take_along_axis(np.pad(said, ((0, 0), (1, 0))), positions, axis=1)
    ages = np.maximum(seen[:, :, None] - said[:, None, :], 0)
    past = np.where(np.arange(rows.shape[1]) < positions[:, :, None], weights[:, None, :], 0.0)

    def real(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(padding.asked)

    def whole(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(padding.asked.device)

    aged, counted = whole(ages), real(past)
    return Padded(
        owners=Owners.of(units.owner, clients=clients, like=padding.asked),
        rows=whole(rows),
        asked=padding.asked[aged] * counted,
        liked=padding.liked[aged] * counted,
        places=whole(positions),
        targets=whole(_spread(units.targets, units.starts)),
        aimed=real(_parts(_spread(units.aims, units.starts) > 0)),
        own=whole(_spread(units.own, units.owns, fill=padding.items)),
        labels=Labels(**{name: real(values) for name, values in _labels(units).items()}) if padding.labels else None,
    )


def _labels(units: Units) -> dict[str, Array]:
    """See `Labels`."""
    intents, ratings = (_spread(each, units.starts, fill=np.nan) for each in (units.intents, units.ratings))
    return {
        "intents": np.nan_to_num(intents),
        "ratings": np.nan_to_num(ratings),
        "usual": _spread(units.usual, units.starts),
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
