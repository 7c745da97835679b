"""Median of means: a few hostile clients of a cohort move the result no further than the others lie apart.

The cohort is split into groups by a public draw, each group's mean is taken by itself, and
in every coordinate the median of these counts. With 2k + 1 groups, k hostile clients reach
k groups at most, however they are drawn: the median lies between the means of honest ones.
Source: Yin et al. 2018, arXiv:1803.01498; Minsker 2015, arXiv:1308.1334.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedrec.privacy.mechanism import Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Which group of a cohort each client is in; one group holds everybody.

    numbers: from 0 to `count` - 1, by client.
    """

    count: int = 1
    numbers: Mapping[int, int] = field(default_factory=dict)

    def of(self, client: int) -> int:
        """The number of a client's group."""
        return self.numbers[client] if self.numbers else 0


EVERYBODY = Groups()


def draw_groups(cohort: Sequence[int], *, count: int, seed: int) -> Groups:
    """`count` groups of a cohort, as equal in size as can be; the same for the same seed."""
    if count == 1:
        return EVERYBODY
    order = np.random.default_rng(seed).permutation(len(cohort))
    return Groups(count=count, numbers={cohort[place]: number % count for number, place in enumerate(order.tolist())})


def median_of_means(sums: Doubles, counts: Sequence[int]) -> Doubles:
    """(P,) the coordinate-wise median of the groups' means.

    sums: (G, P), one row per group, which must all have a count over 0.

    >>> median_of_means(np.array([[2.0], [3.0], [900.0]]), [2, 2, 1]).tolist()
    [1.5]
    """
    median: Doubles = np.median(sums / np.array(counts, dtype=np.float64)[:, None], axis=0)
    return median
