"""A small federation under masks: real clients on a grid in this process, and what may befall them at a stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context
from flwr.clientapp import ClientApp

from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.federation_config import FederationConfig
from fedrec.model.adapter import AdaptedModel
from fedrec.privacy.plan import Limits, PrivacyPlan
from fedrec.secagg.planned import secure_sum_for
from fedrec.secagg.terms import Stage
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Instruction
from fedrec.training.masking import MaskedReply, masking_of
from fedrec.training.participant import Participant
from fedrec.training.recipe import Recipe
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from tests.small_worlds import a_model
from tests.training.clients import a_client

CLIENTS = 6
Answer = Callable[[Participant, Instruction, Stage, bytes], MaskedReply]


@lru_cache(maxsize=8)
def a_masked_plan(clients: int = CLIENTS, *, drop_out: float = 0.3, noise_multiplier: float = 2.0) -> PrivacyPlan:
    """A plan of `distributed` mode for a cohort of so many."""
    secure_sum = secure_sum_for(
        clients, drop_out=drop_out, corruption=0.0, size=1_000, norm=0.5, noise_multiplier=noise_multiplier
    )
    return PrivacyPlan(
        mode="distributed",
        unit="USER",
        clip_norm=0.5,
        noise_multiplier=noise_multiplier,
        delta=1e-6,
        limits=Limits(cap=40, rounds=10),
        secure_sum=secure_sum,
    )


def identity(client: int) -> Ed25519PrivateKey:
    """The identity key of a client."""
    return Ed25519PrivateKey.from_private_bytes(client.to_bytes(32, "big"))


def directory(clients: int) -> dict[int, bytes]:
    """Everybody's public identity key."""
    return {client: identity(client).public_key().public_bytes_raw() for client in range(clients)}


@dataclass(kw_only=True)
class Fleet:
    """Clients in folders under `path`, and a server's run beside them.

    answers: what a client does at a stage in place of answering as it should. Each message finds a client that was
    just started: what it knows is on its disk.
    """

    path: Path
    plan: PrivacyPlan = field(default_factory=a_masked_plan)
    clients: int = CLIENTS
    rounds: int = 1
    least: int = 1
    answers: Mapping[tuple[int, Stage], Answer] = field(default_factory=dict)
    model: AdaptedModel = field(default_factory=lambda: a_model({"history_proj": 4}))
    seen: list[tuple[int, Stage]] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path / "run", "", resume=True)

    def participant(self, number: int, place: str = "run") -> Participant:
        folder = RunFolder(self.path / place, "", resume=True).client(number)
        client = a_client(number, folder, self.model, plan=self.plan)
        return Participant(client=client, number=number, identity=identity(number), directory=directory(self.clients))

    def recipe(self, **changes: Any) -> Recipe:
        recipe = Recipe(
            federation=FederationConfig(
                rounds=self.rounds,
                cohort=self.clients,
                min_replies=self.least,
                server_optimizer="fedavg",
                server_rate=1.0,
                release_every=10,
                timeout=30,
            ),
            plan=self.plan,
            layout=self.model.layout.hash,
            run_id="run",
            seed=1,
            noise="seeded",
            catalogue=8,
            masking=masking_of(self.plan, lambda: directory(self.clients)),
        )
        return replace(recipe, **changes)

    def run(self, hooks: Hooks | None = None) -> ServerState:
        """One sitting of the run."""
        engine = self.engine(build_client_app(self._client, self._participant))
        start = ServerState.start(np.zeros(self.model.layout.size, np.float32))
        return run_rounds(self.folder, engine, self.recipe(), start, hooks or quiet())

    def engine(self, app: ClientApp) -> GridEngine:
        """How the clients are reached."""
        grid = LocalGrid(app, clients=self.clients)
        return GridEngine(grid, IdentifiedNodes(grid, clients=self.clients, timeout=10))

    def plain_sum(self, clients: list[int], instruction: Instruction) -> np.ndarray:
        """What these clients add up to, by asking clients of the same seeds for it without any mask."""
        masking = self.recipe().masking
        assert masking is not None
        total = sum(masking.ring.from_words(self.participant(each, "twin").words(instruction)[0]) for each in clients)
        return np.asarray(total) / masking.ring.scale

    def _client(self, context: Context) -> Any:
        return self._inner(int(context.node_config["partition-id"])).client

    def _inner(self, number: int) -> Participant:
        return self.participant(number)

    def _participant(self, context: Context) -> Any:
        return _Befallen(self, self.participant(int(context.node_config["partition-id"])))


@dataclass(frozen=True)
class _Befallen:
    fleet: Fleet
    inner: Participant

    def answer(self, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        self.fleet.seen.append((self.inner.number, stage))
        other = self.fleet.answers.get((self.inner.number, stage))
        return (
            other(self.inner, instruction, stage, request) if other else self.inner.answer(instruction, stage, request)
        )


def gone(*_: object) -> MaskedReply:
    """The client is not there any more."""
    raise ConnectionError


def gone_after(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
    """The client did its part, and nothing of it arrives."""
    inner.answer(instruction, stage, request)
    raise ConnectionError


def quiet(**changes: Any) -> Hooks:
    """Hooks that do nothing but what a test says."""
    nothing: dict[str, Any] = {name: lambda *_: None for name in ("measure", "publish", "report")}
    return Hooks(**(nothing | changes))
