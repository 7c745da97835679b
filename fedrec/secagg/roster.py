"""Who was asked to a sum: the list that the server shows a client before the client draws its neighbours.

Whom a client draws is the client's own secret until it answers, and in one session it draws once from one list: also if
it is asked again after it forgot that it was, or was set back. The list is bound into every sealed share, pair mask and
token, and so is the identity key that a client takes each other for: two clients that were shown different lists, or
that know another key of anybody's, are strangers to each other. A session's own keys need not be in it: identity keys
sign them for this session, and honest clients sign one pair. Neighbours are drawn from the numbers alone, so that
another key of somebody's is no other draw.
"""

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import ProtocolError
from fedrec.privacy.randomness import RandomSource
from fedrec.secagg.framing import framed, require_number
from fedrec.secagg.keys import Session, derive
from fedrec.secagg.parameters import Parameters

# A roster of so many is half a megabyte, and every client gets one.
LARGEST_ROSTER = 2**16


@dataclass(frozen=True, slots=True)
class Roster:
    """clients: their numbers, ascending, nobody twice; ProtocolError otherwise. identities: a hash of their keys."""

    clients: tuple[int, ...]
    identities: bytes = b""

    def __post_init__(self) -> None:
        for client in self.clients:
            require_number(client, what="client")
        pairs = zip(self.clients, self.clients[1:], strict=False)
        if len(self.clients) > LARGEST_ROSTER or any(one >= other for one, other in pairs):
            raise ProtocolError(
                f"A roster has at most {LARGEST_ROSTER} clients, ascending, nobody twice. Stay out of this round."
            )

    def __contains__(self, client: int) -> bool:
        found = bisect_left(self.clients, client)
        return found < len(self.clients) and self.clients[found] == client

    def hash(self, session: Session) -> bytes:
        """32 bytes that no other roster, and no other session, has."""
        numbers = struct.pack(f">{len(self.clients)}Q", *self.clients)
        return hashlib.sha256(framed("roster", session.id, numbers, self.identities)).digest()

    def under(self, directory: Mapping[int, bytes]) -> Self:
        """The same clients, bound to the identity key that a directory has for each; to none of whom it lacks."""
        keys = (directory.get(client, b"") for client in self.clients)
        return replace(self, identities=hashlib.sha256(framed("identities", *keys)).digest())

    def point(self, client: int) -> int:
        """Where shares for this client are evaluated: its place in the roster, from 1."""
        return bisect_left(self.clients, client) + 1

    def require_members(self, clients: Collection[int], *, but: int) -> None:
        """Raise ProtocolError unless these are clients of the roster, and not this one."""
        if but in clients or not all(client in self for client in clients):
            raise ProtocolError(
                f"A message to or from client {but} names a client that is not in its roster, or itself. Refuse it."
            )


def require_roster_for(client: int, *, roster: Roster, parameters: Parameters, enrolled: Collection[int]) -> None:
    """Return only if the client may draw its neighbours from this roster; raises ProtocolError."""
    if len(roster.clients) != parameters.clients or client not in roster:
        raise ProtocolError(
            f"The roster has {len(roster.clients)} clients for a sum of {parameters.clients}, or lacks client {client}."
            " Stay out of this round."
        )
    if strangers := sum(other not in enrolled for other in roster.clients):
        raise ProtocolError(
            f"{strangers} clients of the roster are not in the pinned directory. Fetch the directory again; stay out "
            "of this round."
        )


def draw_secret(identity: Ed25519PrivateKey, *, session: Session, roster: Roster) -> bytes:
    """The 32 bytes that a client draws its neighbours with: the same in this session from these numbers, always.

    A server that could have one client draw again and again would choose who is whose neighbour.
    """
    context = framed("draw", session.id, Roster(roster.clients).hash(session))
    return derive(identity.private_bytes_raw(), purpose="draw", context=context)


def draw_neighbours(client: int, *, roster: Roster, parameters: Parameters, secret: bytes) -> tuple[int, ...]:
    """The clients that this one shares its secrets with, ascending: uniform for whoever does not know the secret.

    >>> parameters = Parameters(
    ...     clients=3, neighbours=2, threshold=2, corrupt=0, dropouts=0, least_honest=3, failure=0
    ... )
    >>> draw_neighbours(5, roster=Roster((4, 5, 9)), parameters=parameters, secret=bytes(32))
    (4, 9)
    """
    others = [other for other in roster.clients if other != client]
    source = RandomSource(secret, guarantee=True)
    # Numbers of 128 bits put them in an order: no two are ever alike.
    order = np.lexsort((source.words(len(others)), source.words(len(others))))
    return tuple(sorted(others[place] for place in order[: parameters.neighbours]))
