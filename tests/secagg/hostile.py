"""A server that says to each client what it likes, and what it knows by what the clients answer."""

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedrec.errors import RefusedError
from fedrec.secagg.keys import KeyPair
from fedrec.secagg.masks import Words, add_mask, pair_mask_key, self_mask_key, subtract_mask
from fedrec.secagg.messages import (
    AckAnswer,
    AckRequest,
    AdvertAnswer,
    MaskAnswer,
    MaskRequest,
    RevealAnswer,
    RevealRequest,
    RosterRequest,
    ShareAnswer,
    ShareRequest,
)
from fedrec.secagg.shares import combine
from fedrec.secagg.terms import Stage
from fedrec.secagg.wire import Address, M, packed, unpacked
from fedrec.secagg.words import unpacked_words
from tests.secagg.cohorts import Cohort


@dataclass
class HostileServer:
    """claimed: whom it told each client to mask with. Clients that refuse are left out of what came."""

    cohort: Cohort
    inputs: Mapping[int, Words]
    adverts: dict[int, AdvertAnswer] = field(default_factory=dict)
    shares: dict[int, ShareAnswer] = field(default_factory=dict)
    masked: dict[int, MaskAnswer] = field(default_factory=dict)
    acks: dict[int, AckAnswer] = field(default_factory=dict)
    reveals: dict[int, RevealAnswer] = field(default_factory=dict)
    claimed: dict[int, set[int]] = field(default_factory=dict)

    def collect_shares(self) -> None:
        """The first two stages, as an honest server has them."""
        clients = self.cohort.roster.clients
        for client in clients:
            self.advertise(client, roster=clients)
        for client in clients:
            self.share(client)

    def advertise(self, client: int, *, roster: tuple[int, ...]) -> None:
        """Claim that these were asked."""
        self._ask(client, Stage.ADVERTISE, RosterRequest(clients=roster), AdvertAnswer, self.adverts)

    def share(self, client: int) -> None:
        """Hand on the keys of the client's drawn neighbours, as far as they came."""
        drawn = set(self.adverts[client].drawn)
        request = ShareRequest(adverts=self._rows(drawn & self.adverts.keys()))
        self._ask(client, Stage.SHARE, request, ShareAnswer, self.shares)

    def mask(self, client: int, *, present: Collection[int], drawn_by: Collection[int]) -> None:
        """Claim that these of the drawn neighbours are there, and that these drew the client."""
        request = MaskRequest(
            present=tuple(present),
            sealed={other: self.shares[other].sealed[client] for other in drawn_by},
            adverts=self._rows(set(drawn_by).difference(self.adverts[client].drawn)),
        )
        self._ask(client, Stage.MASK, request, MaskAnswer, self.masked)
        self.claimed[client] = {*present, *drawn_by}

    def acknowledge(self, client: int, *, survivors: Collection[int]) -> None:
        """Claim that these neighbours survived and the others did not; make up the inclusions that never came."""
        owners = {other for other in survivors if client in self.adverts[other].drawn}
        forged = MaskAnswer(included={}, words=())
        request = AckRequest(
            survivors=tuple(survivors),
            dropped=tuple(self.claimed[client].difference(survivors)),
            included={other: self.masked.get(other, forged).included.get(client, bytes(16)) for other in owners},
        )
        self._ask(client, Stage.ACKNOWLEDGE, request, AckAnswer, self.acks)

    def reveal(self, client: int, *, believed: Collection[int]) -> None:
        """Hand on every acknowledgement there is of these."""
        request = RevealRequest(
            survived={
                other: self.acks[other].survived[client]
                for other in believed
                if other in self.acks and client in self.acks[other].survived
            }
        )
        self._ask(client, Stage.REVEAL, request, RevealAnswer, self.reveals)

    def seeds(self) -> dict[int, bytes]:
        """The self-mask seeds that it can put together."""
        return self._secrets({holder: reveal.seed_shares for holder, reveal in self.reveals.items()})

    def mask_keys(self) -> dict[int, bytes]:
        """The mask keys that it can put together."""
        return self._secrets({holder: reveal.mask_shares for holder, reveal in self.reveals.items()})

    def sums(self) -> list[set[int]]:
        """The sets of clients whose sum it can take the masks off, none of which holds another."""
        seeds, known = self.seeds().keys(), self.mask_keys().keys()
        left, found = set(self.masked), list[set[int]]()
        while left:
            group, edge = set[int](), {left.pop()}
            while edge:
                group |= edge
                edge = {other for client in edge for other in self._tied(client, known)} - group
            left -= group
            ties = [(client, other) for client in group for other in self._tied(client, known)]
            if group <= seeds and all(client in self.claimed[other] for client, other in ties):
                found.append(group)
        return found

    def sum_of(self, clients: Collection[int]) -> Words:
        """What is left of these clients' masked inputs when all masks that it knows are taken off."""
        terms, keys = self.cohort.terms, self.mask_keys()
        total = np.zeros_like(next(iter(self.inputs.values())))
        for client in clients:
            total += unpacked_words(self.masked[client].words[0], size=terms.size, bits=terms.bits)
            seed = self.seeds()[client]
            subtract_mask(total, key=self_mask_key(seed, session=terms.session, client=client), bits=terms.bits)
            for other in self.claimed[client] & keys.keys():
                self._take_off(total, client, other, keys[other])
        return total

    def _take_off(self, total: Words, client: int, other: int, private: bytes) -> None:
        session = self.cohort.terms.session
        theirs, roster = self.adverts[client].mask_key, self.cohort.roster.hash(session)
        own = KeyPair.from_bytes(private)
        key = pair_mask_key(own, other=theirs, session=session, roster=roster, pair=(client, other))
        (subtract_mask if client < other else add_mask)(total, key=key, bits=self.cohort.terms.bits)

    def _tied(self, client: int, known: Set[int]) -> set[int]:
        """Whom the client masked with under a key that the server has not."""
        return set() if client in known else self.claimed[client].difference(known)

    def _secrets(self, revealed: Mapping[int, Mapping[int, bytes]]) -> dict[int, bytes]:
        threshold, found = self.cohort.terms.parameters.threshold, {}
        for owner in self.cohort.roster.clients:
            shares = {
                self.cohort.roster.point(holder): shares[owner]
                for holder, shares in revealed.items()
                if owner in shares
            }
            if len(shares) >= threshold:
                found[owner] = combine(shares, threshold=threshold)
        return found

    def _rows(self, clients: Collection[int]) -> dict[int, bytes]:
        adverts = {client: self.adverts[client] for client in clients}
        return {client: each.mask_key + each.cipher_key + each.signature for client, each in adverts.items()}

    def _ask(self, client: int, stage: Stage, request: Any, kind: type[M], answers: dict[int, M]) -> None:
        address = Address(session=self.cohort.terms.session.id, client=client)
        try:
            answer = self.cohort.answer(client, stage, packed(request, address), self.inputs)
        except RefusedError:
            return
        answers[client] = unpacked(kind, answer, address)
