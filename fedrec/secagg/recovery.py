"""How the server puts a secret together from shares some of which may be wrong: never one that its owner did not
commit to, and never in unbounded work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from math import comb
from secrets import SystemRandom

from fedrec.errors import ProtocolError
from fedrec.secagg.roster import Roster
from fedrec.secagg.shares import combine

# Of the ways to choose shares: for one secret, and for all of a round. A combination takes a third of a millisecond.
_TRIES = 500
_ALL_TRIES = 5_000


class Recovery:
    """liars: clients whose shares did not fit where others' did; theirs are taken last."""

    def __init__(self, *, roster: Roster, threshold: int) -> None:
        self._roster = roster
        self._threshold = threshold
        self._tries = _ALL_TRIES
        self.liars: set[int] = set()

    def secret(self, shares: Mapping[int, bytes], *, owner: int, fits: Callable[[bytes], bool]) -> bytes:
        """The owner's secret; ProtocolError where no choice of shares that was tried gives it.

        shares: by the client that revealed it. fits: whether a secret is the one that its owner committed to.
        """
        trusted = sorted(shares, key=lambda client: (client in self.liars, client))[: self._threshold]
        found = self._combined(shares, trusted, fits=fits)
        return self._searched(shares, trusted, owner=owner, fits=fits) if found is None else found

    def _searched(
        self, shares: Mapping[int, bytes], trusted: list[int], *, owner: int, fits: Callable[[bytes], bool]
    ) -> bytes:
        for chosen in self._choices(shares):
            found = self._combined(shares, chosen, fits=fits)
            if found is not None:
                kept = chosen[1:]
                self.liars.update(
                    client
                    for client in set(trusted).difference(chosen)
                    if self._combined(shares, [client, *kept], fits=fits) is None
                )
                return found
        raise ProtocolError(
            f"{len(shares)} shares of a secret of client {owner} came; no {self._threshold} of those that were tried "
            "fit what it committed to. The round is refused, its sum is not known: run it again, without that client "
            "if it happens to it again."
        )

    def _choices(self, shares: Mapping[int, bytes]) -> Iterator[list[int]]:
        """Clients whose shares may be right: every choice where those are few, else some at random."""
        clients = sorted(shares)
        few = comb(len(clients), self._threshold) <= _TRIES
        choices: Iterable[Iterable[int]] = (
            combinations(clients, self._threshold)
            if few
            else (SystemRandom().sample(clients, self._threshold) for _ in range(_TRIES))
        )
        for chosen in choices:
            if self._tries == 0:
                return
            self._tries -= 1
            yield list(chosen)

    def _combined(
        self, shares: Mapping[int, bytes], chosen: list[int], *, fits: Callable[[bytes], bool]
    ) -> bytes | None:
        by_point = {self._roster.point(client): shares[client] for client in chosen}
        try:
            secret = combine(by_point, threshold=self._threshold)
        except ProtocolError:
            return None
        return secret if fits(secret) else None
