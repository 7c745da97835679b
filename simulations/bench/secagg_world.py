"""What the benchmark of secure sums works on: a whole cohort in this process, its drop-outs, and what each side takes.

A client is one of a device: it reads its state before each stage and writes it after.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.privacy.mechanism import Vector
from fedrec.privacy.randomness import system_source
from fedrec.privacy.skellam import share_variance
from fedrec.privacy_config import SecureAggregationConfig
from fedrec.secagg.client import SecureClient
from fedrec.secagg.keys import Session
from fedrec.secagg.masks import Words, word_type
from fedrec.secagg.parameters import Parameters, parameters_for
from fedrec.secagg.ring import Ring, ring_for
from fedrec.secagg.roster import Roster
from fedrec.secagg.server import SecureServer
from fedrec.secagg.skellam import skellam
from fedrec.secagg.terms import Stage, Terms
from fedrec.training.aggregation import UpdateSum

CLIP_NORM = 0.5
NOISE_MULTIPLIER = 2.0
DROPPED = 0.05
USUAL = SecureAggregationConfig()
R = TypeVar("R")


@dataclass(slots=True)
class Meter:
    """Seconds of processor time by stage: the server's, and each client's; and bytes, by stage and client."""

    server: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    clients: defaultdict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    down: defaultdict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    up: defaultdict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def serve(self, stage: str, work: Callable[[], R]) -> R:
        """What the work gives; the server has done it."""
        began = time.process_time()
        found = work()
        self.server[stage] += time.process_time() - began
        return found

    def client(self, stage: str, client: int, work: Callable[[], R]) -> R:
        """What the work gives; this client has done it."""
        began = time.process_time()
        found = work()
        self.clients[stage][client] = time.process_time() - began
        return found

    def report(self, survivors: Sequence[int]) -> dict[str, Any]:
        """Times of the server, and of the survivors the medians; their mean bytes."""
        each = [sum(times.get(client, 0.0) for times in self.clients.values()) for client in survivors]
        down, up = _mean_bytes(self.down, survivors), _mean_bytes(self.up, survivors)
        return {
            "server_cpu_s": sum(self.server.values()),
            "server_cpu_s_by_stage": dict(self.server),
            "client_cpu_ms": 1000 * float(np.median(each)),
            "client_cpu_ms_by_stage": {
                stage: 1000 * float(np.median([times[client] for client in survivors]))
                for stage, times in self.clients.items()
            },
            "bytes_down": sum(down.values()),
            "bytes_up": sum(up.values()),
            "bytes_down_by_stage": down,
            "bytes_up_by_stage": up,
        }


def _mean_bytes(counted: Mapping[str, Mapping[int, int]], survivors: Sequence[int]) -> dict[str, float]:
    return {stage: float(np.mean([sizes[client] for client in survivors])) for stage, sizes in counted.items()}


def an_update(client: int, *, size: int) -> npt.NDArray[np.float32]:
    """The same update for a client whenever asked, of about the clip norm."""
    draw = np.random.default_rng(client)
    return (draw.standard_normal(size, dtype=np.float32) * np.float32(CLIP_NORM / math.sqrt(size))).astype(np.float32)


def dropped(clients: int) -> frozenset[int]:
    """Who goes: evenly over the cohort, one at least."""
    return frozenset(range(1, clients + 1, math.floor(1 / DROPPED)))


def parameters_and_ring(clients: int, *, size: int, noise_multiplier: float) -> tuple[Parameters, Ring]:
    """As a plan has them at the rates that are tolerated by default."""
    parameters = parameters_for(clients, drop_out=USUAL.drop_out, corruption=USUAL.corruption)
    honest = parameters.least_honest
    ring = ring_for(clients, clip_norm=CLIP_NORM, size=size, noise_multiplier=noise_multiplier, least_honest=honest)
    return parameters, ring


class Cohort:
    """All clients of one sum and its server; a twentieth of them goes when asked for a masked input."""

    def __init__(self, clients: int, *, size: int) -> None:
        self.parameters, self.ring = parameters_and_ring(clients, size=size, noise_multiplier=NOISE_MULTIPLIER)
        session = Session(run="bench", round=1, token="once")  # noqa: S106
        self.terms = Terms(session=session, parameters=self.parameters, size=size, bits=self.ring.bits)
        self.roster = Roster(tuple(range(1, clients + 1)))
        self.meter = Meter()
        self._identities = {client: Ed25519PrivateKey.generate() for client in self.roster.clients}
        self._directory = {client: key.public_key().public_bytes_raw() for client, key in self._identities.items()}
        self._server = SecureServer(self.terms, roster=self.roster, directory=self._directory)
        self._states: dict[int, bytes] = {}
        self._plain: Words = np.zeros(size, dtype=word_type(self.ring.bits))
        variance = share_variance(
            self.ring.steps, noise_multiplier=NOISE_MULTIPLIER, least_honest=self.parameters.least_honest
        )
        # Its table is made once per plan and kept.
        self._noise = skellam(variance)

    def run(self) -> tuple[int, ...]:
        """The clients whose sum came out; SystemExit if it is not the plain sum of theirs."""
        while (stage := self._server.stage) is not None:
            self._stage(stage)
        found = self.meter.serve("unmask", self._server.result)
        if not np.array_equal(found.words, self._plain & self._plain.dtype.type(2**self.ring.bits - 1)):
            raise SystemExit("The sum is not the survivors': this measures nothing.")
        return found.survivors

    def _stage(self, stage: Stage) -> None:
        name, meter, server = stage.name.lower(), self.meter, self._server
        requests = meter.serve(name, server.requests)
        for client in requests.keys() - (dropped(len(requests)) if stage is Stage.MASK else set()):
            words = self._words(client) if stage is Stage.MASK else None
            answer = meter.client(name, client, lambda: self._answer(client, stage, requests[client], words))  # noqa: B023
            meter.down[name][client], meter.up[name][client] = len(requests[client]), len(answer)
            meter.serve(name, lambda: server.accept(client, answer))  # noqa: B023
        meter.serve(name, server.close)

    def _words(self, client: int) -> Words:
        update = an_update(client, size=self.terms.size)
        words = self.meter.client("encode", client, lambda: self._encoded(update))
        self._plain += words
        return words

    def _encoded(self, update: Vector) -> Words:
        source = system_source()
        values = self.ring.encode(update, source=source)
        return self.ring.to_words(values + self._noise.sample(len(values), source=source))

    def _answer(self, client: int, stage: Stage, request: bytes, words: Words | None) -> bytes:
        party = self._party(client)
        answer = _ASK[stage](party, request) if words is None else party.masked(request, words)
        self._states[client] = party.pack()
        return answer

    def _party(self, client: int) -> SecureClient:
        identity, directory = self._identities[client], self._directory
        if client not in self._states:
            return SecureClient(self.terms, client=client, identity=identity, directory=directory)
        kept = self._states[client]
        return SecureClient.unpack(kept, terms=self.terms, client=client, identity=identity, directory=directory)


_ASK: Mapping[Stage, Callable[[SecureClient, bytes], bytes]] = {
    Stage.ADVERTISE: SecureClient.advertise,
    Stage.SHARE: SecureClient.share,
    Stage.ACKNOWLEDGE: SecureClient.acknowledge,
    Stage.REVEAL: SecureClient.reveal,
}


def secure(clients: int, *, size: int) -> dict[str, Any]:
    """One sum under masks."""
    cohort = Cohort(clients, size=size)
    survivors = cohort.run()
    _, masks_alone = parameters_and_ring(clients, size=size, noise_multiplier=0.0)
    grid = {"bits": cohort.ring.bits, "steps": cohort.ring.steps, "bits_without_noise": masks_alone.bits}
    return {
        "clients": clients,
        "parameters": size,
        "survivors": len(survivors),
        **{name: value for name, value in asdict(cohort.parameters).items() if name != "clients"},
        **grid,
        **cohort.meter.report(survivors),
    }


def plain(clients: int, *, size: int) -> dict[str, Any]:
    """The same survivors' updates added up as they are; each comes as bytes."""
    here = sorted(set(range(1, clients + 1)) - dropped(clients))
    total, meter = UpdateSum(size), Meter()
    for client in here:
        sent = an_update(client, size=size)
        content = meter.client("update", client, sent.tobytes)
        meter.down["update"][client], meter.up["update"][client] = 0, len(content)
        meter.serve("add", lambda: total.add(np.frombuffer(content, dtype=np.float32)))  # noqa: B023
    meter.serve("mean", lambda: total.mean(expected=clients))
    return {"clients": clients, "parameters": size} | meter.report(here)
