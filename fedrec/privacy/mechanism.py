"""The Gaussian mechanism on a sum of bounded vectors: what `central` mode adds up and noises."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import UnsafeUpdateError
from fedrec.privacy.randomness import RandomSource

Vector = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]

# That are float64 at once: a megabyte stays near the processor.
_NUMBERS = 2**17
# BLAS shares a dot product of more out among threads that spin for a while afterwards, and take the cores from whoever
# trains.
_OF_ONE_THREAD = 2**13


def clip_update(update: Vector, *, clip_norm: float) -> Doubles:
    """Scale each client's vector to an L2 norm of at most `clip_norm`.

    update: (..., P), one flattened adapter per row; the result is float64.
    Raises UnsafeUpdateError if an entry is not finite.
    Source: McMahan et al. 2018, arXiv:1710.06963.

    >>> clip_update(np.array([3.0, 4.0]), clip_norm=2.5).tolist()
    [1.5, 2.0]
    """
    rows: Doubles = np.array(update, dtype=np.float64)
    rows *= _shrinking(rows, clip_norm)[..., np.newaxis]
    return rows


def bounded_sum(updates: Vector, *, clip_norm: float | None) -> Doubles:
    """(P,) the float64 sum over (C, P) of what `clip_update` makes of each row, or of the rows where there is no bound.

    >>> bounded_sum(np.array([[3.0, 4.0], [0.0, 0.5]]), clip_norm=2.5).tolist()
    [1.5, 2.5]
    """
    total: Doubles = np.zeros(updates.shape[1])
    few = max(1, _NUMBERS // max(1, len(total)))
    for start in range(0, len(updates), few):
        rows = updates[start : start + few].astype(np.float64)
        if clip_norm is None:
            total += rows.sum(axis=0)
            continue
        total += _shrinking(rows, clip_norm) @ rows
    return total


def l2_norm(vectors: Doubles) -> Doubles:
    """(...,) the L2 norm of (..., P).

    >>> l2_norm(np.array([[3.0, 4.0], [0.0, 0.5]])).tolist()
    [5.0, 0.5]
    """
    squares: Doubles = np.zeros(vectors.shape[:-1])
    for start in range(0, vectors.shape[-1], _OF_ONE_THREAD):
        piece = vectors[..., start : start + _OF_ONE_THREAD]
        squares = squares + np.vecdot(piece, piece)
    return np.sqrt(squares)


def _shrinking(rows: Doubles, clip_norm: float) -> Doubles:
    """(...,) what each row is multiplied by to be no longer than `clip_norm`."""
    norms = l2_norm(rows)
    if not np.isfinite(norms).all():
        raise UnsafeUpdateError("An update is not finite. It cannot be clipped and is not counted.")
    shrinking: Doubles = clip_norm / np.maximum(norms, clip_norm)
    return shrinking


def noised_sum(total: Doubles, *, noise_std: float, source: RandomSource) -> Doubles:
    """(P,) the sum plus independent Gaussian noise; draw it once, and only after it was paid for.

    Source: Dwork and Roth 2014, appendix A.
    """
    return total + source.gaussian(len(total), noise_std=noise_std)
