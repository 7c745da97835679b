"""How strongly what the person turned down pushes like items away: a term of the score of its own."""

from collections.abc import Mapping

import numpy as np

from fedrec.data.events import Kind
from fedrec.data.sequences import Floats, Ints

# As parts of what the same item would add to the query had it been liked. Small, since no
# rating of ml-latest-small says that it helps to predict the next film (validation NDCG@10
# with 95% intervals, ratings taken as turned down and as no part of the taste). Ratings up
# to 2: .0789, and .025 / .1 change it by -.0000 [-.0001, .0000] / -.0018 [-.0040, -.0003].
# Ratings up to 1: .0802, and .1 / .2 change it by +.0001 [-.0002, .0007] / -.0005 [-.0017, .0004].
# A skip says as little as a low rating, a hide as much as the lowest.
TURNED_DOWN: Mapping[Kind, float] = {Kind.SKIP: 0.025, Kind.HIDE: 0.1, Kind.BLOCK: 0.1}
# With every later entry that speaks for the taste: what was turned down long ago no longer counts.
FADES = 0.9
# No more than this many count, the latest.
_REMEMBERED = 64


def pushes(strengths: Floats, rows: Ints, weights: Floats) -> Floats:
    """(L,) how strongly each entry pushes like items away; the score of item i loses `pushes @ (vectors @ v_i)`.

    strengths: (L,) of each entry's kind, 0 unless it turned something down. rows: (L,) of
    the items. weights: (L,) what each says for the taste. What the person chose after
    turning it down is not turned down any more.

    >>> pushes(np.float32([1, 0, 1]), np.array([7, 8, 9]), np.float32([0, 1, 0])).round(1).astype(str).tolist()
    ['0.9', '0.0', '1.0']
    """
    against = np.zeros(len(strengths), dtype=np.float32)
    places = np.flatnonzero(strengths)[-_REMEMBERED:]
    if not len(places):
        return against
    later = np.arange(len(rows))[None, :] > places[:, None]
    chosen_after = later & (rows[None, :] == rows[places][:, None]) & (weights > 0)
    standing = places[~chosen_after.any(axis=1)]
    # Only what speaks for the taste ages it: turning down one more thing never lets another off.
    said = np.cumsum(weights > 0)
    against[standing] = strengths[standing] * np.float32(FADES) ** (said[-1] - said[standing]).astype(np.float32)
    return against
