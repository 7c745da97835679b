"""How many neighbours, which threshold, and the least honest count in any sum that a server can learn.

Everything follows from two tolerated rates. A client's two secrets are shared among its own neighbours; an honest
one reveals at most one kind of share for each peer, and nothing unless `threshold` of its own neighbours took it for
a survivor. So a sum holds, with each honest client, `threshold` of that client's neighbours that are honest and in
the same sum, or corrupt: whatever a malicious server claims to whom, and however it splits the cohort. On the
complete graph that is arithmetic. On a sparse one, whose neighbours each client draws itself, small sets of that
kind exist with a probability that a union bound gives; it joins delta.

Where nobody is said to collude one client may still look at what is released, and knows its own share of the noise:
it counts as no honest one.

Source: Bell et al. 2020 (CCS; ePrint 2020/704), sections 3 and 4, for the graph and the malicious server; Bonawitz
et al. 2017, section 6.2, for the threshold. The bound here is for neighbours drawn without replacement, whose tails
are hypergeometric, and counts corrupt neighbours exactly.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrec.errors import ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Up to so many clients everybody is everybody's neighbour, and nothing is left to chance.
COMPLETE = 100
# Of a smaller set than `least_honest` being summed, or of both secrets of an honest client being revealed.
_PRIVACY_FAILURE = math.log(2.0**-60)
# Of a round that is refused although no more clients dropped out than were planned for; it costs a round, no privacy.
_ROUND_FAILURE = math.log(2.0**-20)
# More neighbours cost time and traffic, and let less noise do: enough for so much of the complete graph's count.
_WORTH = 0.6
# Neighbours that are tried first.
_FIRST = 32
# The logarithms of large factorials are right to 1e-9.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the clients of a cohort agree on before the first message.

    clients: the cohort, n. neighbours: that each client draws, k. threshold: shares that give a secret, t.
    corrupt, dropouts: clients that may collude with the server, or go, at most. least_honest: honest clients in any
    sum that the server can learn, n_min, but with probability `failure`; at least one that looks is not counted.
    """

    clients: int
    neighbours: int
    threshold: int
    corrupt: int
    dropouts: int
    least_honest: int
    failure: float

    @property
    def least_survivors(self) -> int:
        """Clients that a round needs at every stage, from the first."""
        return self.clients - self.dropouts

    @property
    def is_complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.neighbours == self.clients - 1


@lru_cache(maxsize=64)
def parameters_for(clients: int, *, drop_out: float, corruption: float) -> Parameters:
    """The parameters of a cohort in which at most these rates drop out, or collude with the server.

    Raises ConfigError where no threshold serves both rates.
    """
    if not (0 <= drop_out < 1 and 0 <= corruption < 1):
        raise ConfigError(
            f"secure_aggregation.drop_out is {drop_out:g} and secure_aggregation.corruption {corruption:g}. "
            "Both are shares of a cohort: from 0 to under 1."
        )
    dropouts, corrupt = math.ceil(drop_out * clients - _ROUNDING), math.ceil(corruption * clients - _ROUNDING)
    complete = _complete(clients, dropouts=dropouts, corrupt=corrupt)
    return complete if clients <= COMPLETE else _sparse(complete) or complete


def _complete(clients: int, *, dropouts: int, corrupt: int) -> Parameters:
    neighbours, threshold = clients - 1, clients - 1 - dropouts
    if clients < 2:
        raise ConfigError(f"A cohort of {clients} is no sum. Ask at least two clients: federation.cohort, or --cohort.")
    if threshold < 1 or 2 * threshold <= neighbours + corrupt:
        raise ConfigError(
            f"A cohort of {clients} cannot lose {dropouts} clients and hold {corrupt} that collude: twice the first "
            f"and the second have to be under {max(clients - 1, 0)}. Lower secure_aggregation.drop_out or "
            "secure_aggregation.corruption, or ask a larger cohort."
        )
    return Parameters(
        clients=clients,
        neighbours=neighbours,
        threshold=threshold,
        corrupt=corrupt,
        dropouts=dropouts,
        least_honest=threshold + 1 - max(corrupt, 1),
        failure=0.0,
    )


def _sparse(complete: Parameters) -> Parameters | None:
    """The fewest neighbours that are worth it; None where the complete graph has no more."""
    low, high = 2, complete.neighbours
    # Few suffice, and many take long to try: twice as many as are known to do are taken to do, too.
    reach = _FIRST
    while reach < high and not _worth_it(complete, reach):
        reach *= 2
    found = None
    while low < high:
        middle = (low + high) // 2
        if middle > 2 * reach:
            high = middle
        elif tried := _worth_it(complete, middle):
            found, high = tried, middle
        else:
            low = middle + 1
    return found


def _worth_it(complete: Parameters, neighbours: int) -> Parameters | None:
    """The parameters with so many neighbours; None where they keep too few of the honest count."""
    tried = _with_neighbours(complete, neighbours)
    return tried if tried and tried.least_honest >= _WORTH * complete.least_honest else None


def _with_neighbours(complete: Parameters, neighbours: int) -> Parameters | None:
    """The best threshold for so many neighbours; None where no sum would be safe."""
    n, corrupt = complete.clients, complete.corrupt
    threshold = _threshold(n, neighbours, complete.dropouts)
    others = n - 1
    # Honest neighbours say one thing of a client each, corrupt ones both: both secrets take 2 t of k and those.
    both = math.log(n) + _log_tail(others, corrupt, neighbours, 2 * threshold - neighbours)
    if threshold < 1 or both > _PRIVACY_FAILURE:
        return None
    failure, honest = math.exp(both + _ROUNDING), n - corrupt
    sizes = np.arange(1, honest + 1)
    # Each client of the set draws `threshold` neighbours among the others of the set and the corrupt.
    closed = sizes * _log_tails(others, sizes - 1 + corrupt, neighbours, threshold)
    chances = np.exp(np.minimum(_log_chooses(honest, sizes) + closed + _ROUNDING, 0.0))
    failures = failure + np.cumsum(chances)
    # All smaller sets together are improbable enough: a sum is of no fewer honest clients than this.
    smaller = int(np.searchsorted(failures, math.exp(_PRIVACY_FAILURE), side="right"))
    size = min(smaller + 1, honest)
    failure = float(failures[smaller - 1]) if smaller else failure
    return Parameters(
        clients=n,
        neighbours=neighbours,
        threshold=threshold,
        corrupt=corrupt,
        dropouts=complete.dropouts,
        least_honest=size if corrupt else size - 1,
        failure=failure,
    )


def _threshold(clients: int, neighbours: int, dropouts: int) -> int:
    """The most shares that every client still finds among its neighbours when so many drop out."""
    threshold = neighbours
    while threshold and math.log(clients) + _log_tail(
        clients - 1, dropouts, neighbours, neighbours - threshold + 1
    ) > _ROUND_FAILURE:  # fmt: skip
        threshold -= 1
    return threshold


def _log_tail(population: int, marked: int, draws: int, least: int) -> float:
    """Log of the probability that at least `least` of so many draws without replacement are marked."""
    most = min(marked, draws)
    if least > most:
        return -math.inf
    if least <= max(0, draws - (population - marked)):
        return 0.0
    every = _log_choose(population, draws)
    terms = [
        _log_choose(marked, found) + _log_choose(population - marked, draws - found) - every
        for found in range(max(least, draws - (population - marked)), most + 1)
    ]
    largest = max(terms)
    return min(0.0, largest + math.log(math.fsum(math.exp(term - largest) for term in terms)))


def _log_tails(population: int, marked: Ints, draws: int, least: int) -> Floats:
    """`_log_tail` for each of (S,) marked counts at once; least: over 0."""
    found = np.arange(least, draws + 1)[:, None]
    unmarked = population - marked
    possible = (found <= marked) & (draws - found <= unmarked)
    terms = (
        _log_chooses(marked, np.where(possible, found, 0))
        + _log_chooses(unmarked, np.where(possible, draws - found, 0))
        - _log_choose(population, draws)
    )
    terms = np.where(possible, terms, -np.inf)
    sure, largest = least <= draws - unmarked, terms.max(axis=0)
    peak = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        tails = peak + np.log(np.exp(terms - peak).sum(axis=0))
    return np.where(sure, 0.0, np.minimum(tails, 0.0))


def _log_chooses(of: Ints | int, taken: Ints) -> Floats:
    """`_log_choose` for each."""
    logs = _log_factorials(int(np.max(of)))
    return logs[of] - logs[taken] - logs[of - taken]


@lru_cache(maxsize=4)
def _log_factorials(most: int) -> Floats:
    """The logarithm of each factorial from 0 to `most`."""
    return np.array([math.lgamma(number + 1) for number in range(most + 1)])


def _log_choose(of: int, taken: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)
