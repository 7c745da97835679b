"""A service of one catalogue and its enrolled devices in this process: their clients are real, the network is not."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context

from fedrec.config_file import parse_scenario
from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.enrolment import EnrolmentRequest, flower_key, ssh_line
from fedrec.federation.handlers import build_client_app
from fedrec.privacy.ledger import read_events
from fedrec.registry import nodes
from fedrec.registry.control import Control, Wish, ask
from fedrec.registry.registry import Registry
from fedrec.registry.status import FinishedRound, RoundStatus, finished_rounds, round_status
from fedrec.service.adding import add_catalogue
from fedrec.service.clock import Clock
from fedrec.service.config import NetworkConfig, artifacts_url, database_url, load_service
from fedrec.service.folder import CatalogueFolder
from fedrec.service.rounds import serve_catalogue
from fedrec.service.setup import make_service
from fedrec.training.client import Client
from fedrec.training.run_folder import client_folder
from fedrec.training.workbench import Workbench, open_workbench
from tests.federation.enrolled_grid import EnrolledGrid
from tests.service.clocks import FakeClock
from tests.small_worlds import save_tiny_bert

NAME = "films"
Table = Mapping[str, Mapping[str, Any]]
SCENARIO: Table = {
    "adapter": {"ranks": {"history_proj": 3}},
    "training": {"positions": 5},
    "federation": {
        "rounds": 3,
        "cohort": 4,
        "min_replies": 2,
        "timeout": 300.0,
        "server_optimizer": "fedavg",
        "server_rate": 1.0,
        "release_every": 1,
    },
    "privacy": {"mode": "central", "clip_norm": 0.5, "noise_multiplier": 2.0, "participations": 12, "delta": 1e-6},
}


@dataclass(frozen=True)
class Place:
    """A data set and an encoder that several tests share."""

    world: Path
    encoder: Path

    @classmethod
    def make(cls, folder: Path) -> "Place":
        write_world(folder / "world", users=6, items=30, seed=5)
        texts = Dataset.open(folder / "world").catalogue()["text"].to_list()
        return cls(folder / "world", save_tiny_bert(folder / "bert", texts=texts, width=16))

    def table(self, changes: Table) -> dict[str, Any]:
        """The scenario with some settings changed."""
        sections = {name: {**SCENARIO.get(name, {}), **changes.get(name, {})} for name in {*SCENARIO, *changes}}
        return {
            "name": NAME,
            "seed": 5,
            **sections,
            "model": {"encoder": str(self.encoder), **changes.get("model", {})},
        }


@dataclass
class Devices:
    """The nodes of a service. before: called with the number of a device before it answers."""

    folder: Path
    workbench: Workbench
    keys: Sequence[ec.EllipticCurvePrivateKey]
    before: Callable[[int], None] = lambda _: None
    asked: list[int] = field(default_factory=list)

    def grid(self) -> EnrolledGrid:
        """A new connection to all of them, as a restarted process has it."""
        public = [flower_key(ssh_line(key.public_key())) for key in self.keys]
        return EnrolledGrid(build_client_app(self._client_of), nodes=len(self.keys), keys=public)

    def ledger(self, number: int) -> Path:
        return client_folder(self.folder, number) / "ledger.jsonl"

    def _client_of(self, context: Context) -> Client:
        number = int(context.node_config["partition-id"])
        self.asked.append(number)
        self.before(number)
        return self.workbench.client(number, client_folder(self.folder, number))


class Service:
    """A made service, its devices, and what its registry says."""

    def __init__(self, path: Path, place: Place, *, devices: int = 5, **changes: Any) -> None:
        rounds = changes.pop("rounds", {})
        table = place.table(changes)
        self.folder = make_service(path / "service", network=NetworkConfig(), now=datetime.now(UTC))
        settings = {"rounds": {"poll": 10.0, "wait": 3600.0, **rounds}}
        self.folder.config.write_text(tomli_w.dumps(settings))
        scenario = path / "scenario.toml"
        scenario.write_text(tomli_w.dumps(place.table({})))
        add_catalogue(self.folder, NAME, dataset=place.world, scenario=scenario)
        # What the rounds read may be edited after it was added.
        self.catalogue.scenario.write_text(tomli_w.dumps(table))
        keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(devices)]
        self.devices = Devices(path, open_workbench(parse_scenario(table), place.world), keys)
        self.enrol(keys)
        self.grid = self.devices.grid()
        self.time = FakeClock()

    @property
    def catalogue(self) -> CatalogueFolder:
        return self.folder.catalogue(NAME)

    def serve(self, *, clock: Clock | None = None) -> str:
        """As the process of Flower does it, to its end."""
        return serve_catalogue(self.folder.path, NAME, self.grid, clock=clock or self.time.clock())

    @contextmanager
    def registry(self) -> Any:
        config = load_service(self.folder)
        url, artifacts = database_url(self.folder, config), artifacts_url(self.folder, config)
        with Registry.open(url, artifacts=artifacts) as registry:
            yield registry

    def enrol(self, keys: Sequence[ec.EllipticCurvePrivateKey]) -> None:
        places = nodes.Places(most=1000, per_day=1000)
        with self.registry() as registry:
            for key in keys:
                identity = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
                request = EnrolmentRequest(
                    node_key=ssh_line(key.public_key()), identity_key=identity, nonce="00" * 16, made_at=1
                )
                nodes.ask(registry.database, request, catalogue=NAME, places=places, now=int(time.time()))
                nodes.confirm(registry.database, request.node_key, now=int(time.time()))

    def wish(self, wish: Wish) -> None:
        with self.registry() as registry:
            ask(registry, Control(catalogue=NAME, wish=wish, by="test", at=1))

    def status(self) -> RoundStatus:
        with self.registry() as registry:
            found = round_status(registry, NAME)
        assert found is not None
        return found

    def finished(self) -> list[FinishedRound]:
        with self.registry() as registry:
            return finished_rounds(registry, NAME)

    def released(self) -> list[int]:
        """The rounds of the releases in the registry, the first one first."""
        with self.registry() as registry:
            return [row.round for row in registry.releases(NAME)][::-1]

    def in_use(self) -> list[tuple[int, str]]:
        """Round and reason of every pointer."""
        with self.registry() as registry:
            return [(pointer.round, pointer.reason) for pointer in registry.channel(NAME)]

    def ledger(self) -> list[dict[str, Any]]:
        return read_events(self.catalogue.run / "ledger.jsonl")
