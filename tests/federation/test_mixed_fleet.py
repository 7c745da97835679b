"""Sums under masks of a mixed fleet: fast and slow clients, one that never answers in time, one that joins late."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from fedrec.federation.exchange import Pace
from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.federation.messages import IDENTIFY
from fedrec.privacy.ledger import read_events
from fedrec.training.recipe import Recipe
from tests.federation.masked_fleets import CLIENTS, Fleet

NEVER = 10**6


class Speeds(LocalGrid):
    """Clients whose reply to a message is there only when it was asked for so often; some connect later."""

    def __init__(self, app: ClientApp, *, clients: int, asks: Mapping[int, int], joins: Mapping[int, int]) -> None:
        super().__init__(app, clients=clients)
        self._asks = asks
        self._joins = joins
        self._asked: dict[str, int] = {}
        self.handled = 0

    def get_node_ids(self) -> Iterable[int]:
        """Those who have joined by now."""
        nodes = list(super().get_node_ids())
        return [node for client, node in enumerate(nodes) if self.handled >= self._joins.get(client, 0)]

    def pull_messages(self, message_ids: Iterable[str]) -> Sequence[Message]:
        """The first reply that is ready."""
        for message_id in message_ids:
            message = self._waiting.get(message_id)
            if message is None:
                continue
            self._asked[message_id] = self._asked.get(message_id, 0) + 1
            client = message.metadata.dst_node_id - next(iter(super().get_node_ids()))
            known = message.metadata.message_type == IDENTIFY
            if known or self._asked[message_id] > self._asks.get(client, 0):
                self.handled += 1
                return super().pull_messages([message_id])
        return []


@dataclass(kw_only=True)
class MixedFleet(Fleet):
    """A fleet on such a grid, with a clock of its own: waiting takes no time."""

    asks: Mapping[int, int] = field(default_factory=dict)
    joins: Mapping[int, int] = field(default_factory=dict)
    time: float = 0.0

    def recipe(self, **changes: Any) -> Recipe:
        federation = replace(super().recipe().federation, cohort=CLIENTS)
        return super().recipe(**{"federation": federation} | changes)

    def engine(self, app: ClientApp) -> GridEngine:
        grid = Speeds(app, clients=self.clients, asks=self.asks, joins=self.joins)
        pace = Pace(now=lambda: self.time, sleep=self._wait)
        return GridEngine(grid, IdentifiedNodes(grid, clients=self.clients, timeout=10, pace=pace), pace=pace)

    def _wait(self, seconds: float) -> None:
        self.time += seconds


def records(fleet: Fleet) -> list[dict[str, Any]]:
    return fleet.folder.rounds()


@pytest.mark.slow
def test_clients_of_all_speeds_are_in_one_sum(tmp_path: Path) -> None:
    fleet = MixedFleet(path=tmp_path, asks={client: 3 * client for client in range(CLIENTS)})
    assert fleet.run().adapter.any()
    assert (records(fleet)[0]["replies"], records(fleet)[0]["failures"]) == (CLIENTS, {})
    assert fleet.time > 0


@pytest.mark.slow
def test_who_is_slower_than_a_round_is_left_out_of_its_sum(tmp_path: Path) -> None:
    fleet = MixedFleet(path=tmp_path, rounds=2, asks={2: NEVER})
    assert fleet.run().adapter.any()
    assert [(record["replies"], record["failures"]) for record in records(fleet)] == [(CLIENTS - 1, {"timeout": 1})] * 2
    # It was not there when words were asked for, and drew no noise.
    assert all(2 not in event["participants"] for event in read_events(fleet.folder.ledger))


@pytest.mark.slow
def test_who_joins_while_a_round_runs_is_asked_in_a_later_one(tmp_path: Path) -> None:
    late = CLIENTS
    fleet = MixedFleet(path=tmp_path, clients=CLIENTS + 1, rounds=4, joins={late: CLIENTS + 3})
    fleet.run()
    assert [record["replies"] for record in records(fleet)] == [CLIENTS] * 4
    first, *later = (set(event["participants"]) for event in read_events(fleet.folder.ledger))
    assert late not in first
    assert any(late in participants for participants in later)
