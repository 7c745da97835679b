"""A service of which there is something to see: catalogues with ledgers, rounds that finished, signed releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fedrec.config_file import load_scenario
from fedrec.privacy.accounting import spending_by_client, worst_epsilon
from fedrec.privacy.ledger import Ledger, ledger_head
from fedrec.registry.nodes import StoredNode
from fedrec.registry.publishing import Metric, ReleaseRow
from fedrec.registry.registry import Registry
from fedrec.registry.status import FinishedRound, RoundStatus, finish, tell
from fedrec.release import publish_release, signing_key, verify_release
from fedrec.secagg.planned import plan_of
from fedrec.service.config import NetworkConfig, artifacts_url, database_url, load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service

NOW = 1_780_000_000
HOUR = 3600
_SCENARIO = """
name = "{name}"
[data]
users_per_client = 1
[adapter]
ranks = {{ history_proj = 8 }}
[federation]
rounds = {rounds}
cohort = {cohort}
server_optimizer = "fedavg"
[privacy]
mode = "central"
unit = "USER"
clip_norm = 0.5
noise_multiplier = 2.0
participations = 5
delta = 1e-6
[budget]
epsilon = 8.0
"""
_KINDS = {"waiting": 0.55, "asking": 0.3, "noising": 0.1, "publishing": 0.05}
_WAITING = "round 9 is waiting for 27 of 40 devices, 23 h left"


def a_service(path: Path) -> ServiceFolder:
    """An empty service."""
    return make_service(path, network=NetworkConfig(), now=datetime.now(UTC))


def opened(folder: ServiceFolder) -> Registry:
    """Its registry."""
    config = load_service(folder)
    return Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config))


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One catalogue of a service, and what happens to it."""

    folder: ServiceFolder
    registry: Registry
    name: str
    cohort: int = 40
    rounds: int = 20

    def open(self) -> "Shop":
        """The catalogue is served."""
        place = self.folder.catalogue(self.name)
        place.run.mkdir(parents=True)
        place.scenario.write_text(_SCENARIO.format(name=self.name, rounds=self.rounds, cohort=self.cohort))
        return self

    def pay(self, *cohorts: Sequence[int]) -> float:
        """Each cohort took part in one round; returns what the device that took part most has spent."""
        place = self.folder.catalogue(self.name)
        plan = plan_of(load_scenario(place.scenario))
        assert plan is not None
        with Ledger(place.run / "ledger.jsonl") as ledger:
            for cohort in cohorts:
                event = plan.event(plan.participation, kind="update")
                more = {"round": len(ledger.entries), "participants": list(cohort), "guarantee": True}
                ledger.append({**event, **more})
            return worst_epsilon(spending_by_client(ledger.entries).values(), delta=plan.delta)

    def finish(
        self,
        number: int,
        *,
        replies: int,
        failures: Mapping[str, int] | None = None,
        at: int = NOW,
        hits: float | None = None,
        seconds: float = 90.0,
        epsilon: float | None = None,
    ) -> None:
        """A round ended."""
        lost = failures or {}
        record = FinishedRound(
            catalogue=self.name,
            run="run-1",
            round=number,
            finished_at=at,
            asked=max(self.cohort, replies + sum(lost.values())),
            replies=replies,
            failures=lost,
            seconds={kind: round(share * seconds, 2) for kind, share in _KINDS.items()},
            bytes=104_000 * (replies + self.cohort),
            epsilon=epsilon,
            released_metrics={} if hits is None else _released(hits),
        )
        finish(self.registry, record)

    def publish(self, number: int, *, ndcg: float = 0.1) -> ReleaseRow:
        """A small but real release: signed with the service's key."""
        place = self.folder.catalogue(self.name)

        def write(folder: Path) -> None:
            (folder / "adapter").mkdir()
            (folder / "adapter" / "adapter_model.safetensors").write_bytes(f"{self.name} {number}".encode() * 4000)
            (folder / "index.bin").write_bytes(self.name.encode() * 40_000)
            (folder / "MODEL_CARD.md").write_text(f"# Round {number}\n")

        key = signing_key(self.folder.signing_key)
        made = publish_release(
            place.run / "releases",
            write,
            round_number=number,
            lineage={
                "run": "run-1",
                "round": number,
                "ledger_head": ledger_head(place.run / "ledger.jsonl"),
                "base_model": "b" * 16,
                "index": "1" * 16,
                "encoder": "e" * 16,
                "layout": "a" * 16,
            },
            privacy={"mode": "central", "statement": "epsilon as the ledger has it"},
            key=key,
        )
        manifest = verify_release(made, key.public_key())
        return self.registry.publish(
            self.name, made, manifest=manifest, metrics={"ndcg@10": Metric(value=ndcg, basis="public")}
        )

    def use(self, row: ReleaseRow, *, at: int = NOW) -> None:
        """The rounds put a release into use by themselves."""
        self.registry.promote(self.name, row.manifest_hash, key=signing_key(self.folder.signing_key), now=at)

    def say(self, phase: str = "waiting", *, connected: int = 0, at: int = NOW, **more: object) -> None:
        """How the round stands."""
        status = {
            "catalogue": self.name,
            "phase": phase,
            "round": 1,
            "rounds": self.rounds,
            "needed": self.cohort,
            "connected": connected,
            "replies": 0,
            "message": "",
            "since": at,
            "updated_at": at,
        }
        tell(self.registry, RoundStatus(**{**status, **more}))  # type: ignore[arg-type]

    def enrol(self, devices: int) -> None:
        """So many devices are enrolled."""
        rows = [
            StoredNode(
                node_key=f"{self.name} node {number}",
                identity_key=f"{self.name} identity {number}",
                catalogue=self.name,
                client=number,
                state="enrolled",
                asked_at=NOW,
                ended_at=None,
            )
            for number in range(devices)
        ]
        self.registry.write(lambda session: session.add_all(rows))


def _released(hits: float) -> dict[str, float]:
    """As the service's records name what a round released: each value, and the noise on it."""
    return {"loss": 4.1 - hits, "loss_noise_std": 0.05, "hit_rate@10": hits, "hit_rate@10_noise_std": 0.006}


def busy(shop: Shop, *, now: int = NOW) -> None:
    """A catalogue in the middle of its run: eight rounds, three releases, one of them in use."""
    lost: list[dict[str, int]] = [
        {},
        {"timeout": 6},
        {"timeout": 2},
        {},
        {"BudgetError": 9},
        {"timeout": 7, "over_norm": 1},
    ]
    devices, draw = 812, np.random.default_rng(5)
    shop.enrol(devices)
    for number in range(1, 9):
        epsilon = shop.pay(draw.choice(devices, shop.cohort, replace=False).tolist())
        failures = lost[number % len(lost)]
        at = now - (9 - number) * HOUR
        shop.finish(
            number,
            replies=shop.cohort - sum(failures.values()),
            failures=failures,
            at=at,
            hits=0.112 + 0.09 * (1 - 0.75**number) + 0.004 * (-1) ** number,
            seconds=70 + 13 * (number % 4),
            epsilon=epsilon,
        )
        if number in (1, 4, 8):
            row = shop.publish(number, ndcg=0.061 + 0.05 * (1 - 0.75**number))
            if number < 8:
                shop.use(row, at=at)
    shop.say("waiting", connected=27, round=9, at=now - 240, updated_at=now - 2, message=_WAITING)
