"""How the shared adapter lies in one flat vector; without torch, as devices need it too."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrec.errors import LayoutError, UnsafeUpdateError

FlatAdapter = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each trainable tensor lies in the flat vector.

    hash: over names, shapes, the frozen basis and the base model; two sides with
    different hashes refuse each other.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    hash: str

    @property
    def size(self) -> int:
        """How many numbers the flat vector has, P."""
        return sum(math.prod(shape) for shape in self.shapes)

    def fitting(self, flat: npt.ArrayLike) -> FlatAdapter:
        """`flat` as (P,) float32; raises UnsafeUpdateError on a wrong size or a non-finite entry."""
        values = np.asarray(flat, dtype=np.float32)
        if values.shape != (self.size,):
            raise UnsafeUpdateError(f"An adapter of shape {values.shape} does not fit {self.size} numbers. Discard it.")
        if not np.isfinite(values).all():
            raise UnsafeUpdateError(
                "An adapter with numbers that are infinite, or none at all, does not fit. Discard it."
            )
        return values

    def tensors(self, flat: FlatAdapter) -> dict[str, FlatAdapter]:
        """The tensors of a flat vector by name, as views."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        pieces = np.split(flat, ends[:-1])
        return {name: piece.reshape(shape) for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)}


def require_layout(ours: str, theirs: str) -> None:
    """Raise LayoutError unless both sides hold the same layout."""
    if ours != theirs:
        raise LayoutError(
            f"The adapter has layout {theirs[:12]}, this side {ours[:12]}: another base model, index or recipe. "
            "Fetch the release that the server uses."
        )
