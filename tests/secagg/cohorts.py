"""Cohorts for the tests of secure sums: enrolled clients, a server, and a run of all stages with drop-outs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import RefusedError
from fedrec.secagg.client import SecureClient
from fedrec.secagg.keys import Session
from fedrec.secagg.masks import Words, word_type
from fedrec.secagg.parameters import Parameters
from fedrec.secagg.roster import Roster
from fedrec.secagg.server import SecureServer
from fedrec.secagg.terms import Stage, Terms
from fedrec.secagg.unmasking import SecureSum
from tests.secagg import reference

SESSION = reference.session()


@cache
def identity(client: int) -> Ed25519PrivateKey:
    """The same key for a client in every test: making keys is not what they are about."""
    return Ed25519PrivateKey.from_private_bytes(client.to_bytes(32))


def directory(clients: Sequence[int]) -> dict[int, bytes]:
    return {client: identity(client).public_key().public_bytes_raw() for client in clients}


def parameters(clients: int, *, neighbours: int | None = None, threshold: int, dropouts: int = 0) -> Parameters:
    """Made by hand, to reach what rates do not: few neighbours in a small cohort, a threshold of one's own."""
    return Parameters(
        clients=clients,
        neighbours=clients - 1 if neighbours is None else neighbours,
        threshold=threshold,
        corrupt=0,
        dropouts=dropouts,
        least_honest=1,
        failure=0.0,
    )


class Cohort:
    """All clients of one sum and its server."""

    def __init__(
        self,
        given: Parameters,
        *,
        size: int = 4,
        bits: int = 32,
        numbers: Sequence[int] = (),
        session: Session = SESSION,
    ) -> None:
        clients = tuple(sorted(numbers)) or tuple(range(1, given.clients + 1))
        self.directory = directory(clients)
        self.roster = Roster(clients).under(self.directory)
        self.terms = Terms(session=session, parameters=given, size=size, bits=bits)
        self.clients = {client: self.client(client) for client in self.roster.clients}
        self.server = SecureServer(self.terms, roster=self.roster, directory=self.directory)
        self.told: list[str] = []

    def client(self, client: int) -> SecureClient:
        return SecureClient(self.terms, client=client, identity=identity(client), directory=self.directory)

    def restarted(self, client: int) -> SecureClient:
        """The client after it was written down and read again."""
        return SecureClient.unpack(
            self.clients[client].pack(),
            terms=self.terms,
            client=client,
            identity=identity(client),
            directory=self.directory,
        )

    def inputs(self, seed: int = 1) -> dict[int, Words]:
        draws = np.random.default_rng(seed)
        kind, bound = word_type(self.terms.bits), 2**self.terms.bits
        return {client: draws.integers(0, bound, self.terms.size).astype(kind) for client in self.roster.clients}

    def answer(self, client: int, stage: Stage, request: bytes, inputs: Mapping[int, Words]) -> bytes:
        party = self.clients[client]
        if stage is Stage.MASK:
            return party.masked(request, inputs[client])
        ask = {
            Stage.ADVERTISE: party.advertise,
            Stage.SHARE: party.share,
            Stage.ACKNOWLEDGE: party.acknowledge,
            Stage.REVEAL: party.reveal,
        }
        return ask[stage](request)

    def run(
        self,
        inputs: Mapping[int, Words],
        *,
        silent: Mapping[Stage, Sequence[int]] | None = None,
        until: Stage | None = None,
        change: Callable[[Stage, int, bytes], bytes] = lambda _stage, _client, answer: answer,
    ) -> None:
        """Run the stages before `until`, or all; who is silent at a stage does not answer it. RefusedError as it comes.

        A client that refuses has dropped out; what it says is kept in `told`. change: what becomes of an answer.
        """
        while (stage := self.server.stage) is not None and stage is not until:
            quiet = (silent or {}).get(stage, ())
            for client, request in self.server.requests().items():
                if client in quiet:
                    continue
                try:
                    self.server.accept(client, change(stage, client, self.answer(client, stage, request, inputs)))
                except RefusedError as refused:
                    self.told.append(str(refused))
            self.server.close()

    def sum_of(
        self, inputs: Mapping[int, Words], *, silent: Mapping[Stage, Sequence[int]] | None = None
    ) -> SecureSum | None:
        """The sum, or None if it was refused."""
        with suppress(RefusedError):
            self.run(inputs, silent=silent)
            return self.server.result()
        return None


def plain_sum(inputs: Mapping[int, Words], *, clients: Sequence[int], bits: int) -> list[int]:
    """The sum in Python's own integers."""
    return [sum(column) % 2**bits for column in zip(*(inputs[client].tolist() for client in clients), strict=True)]
