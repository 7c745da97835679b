"""Low-rank factors, and gradients left in factored form: multiplied out where that takes the fewest operations."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Lora:
    """A module's factors: a (r, in) and b (out, r), or (E, r, in) and (E, out, r) where each unit has its own."""

    a: Tensor
    b: Tensor

    def low(self, inputs: Tensor) -> Tensor:
        """(E, P, r) of (E, P, in)."""
        return inputs @ self.a.mT

    def pull_back(self, outputs: Tensor) -> Tensor:
        """(E, P, in): the transposed map of (E, P, out)."""
        return (outputs @ self.b) @ self.a


@dataclass(frozen=True, slots=True)
class Side:
    """A gradient in its factored form: of unit e it is (left[e] + slopes[e] rows)^T right[e].

    left: (E, P, out), right: (E, P, in). slopes: (E, P, S) and rows: (S, out), left apart where multiplying them
    with `right` first takes fewer operations, or None. With places and marks, (E, P), `left` is (E, L, out), of
    entries: that of position p is marks[e, p] times left[e, places[e, p]].
    """

    left: Tensor
    right: Tensor
    slopes: Tensor | None = None
    rows: Tensor | None = None
    places: Tensor | None = None
    marks: Tensor | None = None

    def silenced(self, lost: Tensor) -> "Side":
        """With zeros for the units of (E,) `lost`: no weight makes nothing of what is not finite."""
        where = lost[:, None, None]
        slopes = None if self.slopes is None else self.slopes.masked_fill(where, 0.0)
        marks = None if self.marks is None else self.marks.masked_fill(where.squeeze(-1), 0.0)
        left, right = self.left.masked_fill(where, 0.0), self.right.masked_fill(where, 0.0)
        return replace(self, left=left, right=right, slopes=slopes, marks=marks)

    def square_norms(self) -> Tensor:
        """(E,) of each unit's gradient, by the products of its positions (Gram) where these are fewer."""
        positions, out, inner = self.left.shape[1], self.left.shape[2], self.right.shape[2]
        if self.slopes is None and positions * (out + inner) < out * inner:
            return ((self.left @ self.left.mT) * (self.right @ self.right.mT)).sum((1, 2))
        return self.products(self.right).square().sum((1, 2))

    def products(self, right: Tensor) -> Tensor:
        """(E, out, in) each unit's gradient with `right` in place of its own."""
        marked = self._marked(right)
        if self.slopes is None or self.rows is None:
            return self.left.mT @ marked
        return torch.baddbmm(times(right.mT @ self.slopes, self.rows).mT, self.left.mT, marked)

    def _marked(self, right: Tensor) -> Tensor:
        """`right` by the places and marks of `left`."""
        if self.places is None or self.marks is None:
            return right
        marked = right * self.marks.unsqueeze(-1)
        spread = marked.new_zeros((len(marked), self.left.shape[1], marked.shape[2]))
        return spread.scatter_add_(1, self.places.unsqueeze(-1).expand_as(marked), marked)


def times(left: Tensor, right: Tensor) -> Tensor:
    """The product in the precision of `right`, told in that of `left`."""
    return (left.to(right.dtype) @ right).to(left.dtype)
