"""Real clients whose data are as unlike as data can be, in the same real rounds.

Everything that the configuration can release is released. What leaves each client, and what
is written down of the rounds, can then be held against the same without anybody's data.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fedrec.audit.bench import RELEASES, audited
from fedrec.audit.path import memory
from fedrec.audit.world import history_of, random_history, small_model
from fedrec.config import ModelConfig, Scenario
from fedrec.data.sequences import Floats, Ints
from fedrec.errors import DataError
from fedrec.federation_config import FederationConfig
from fedrec.model.adapter import AdaptedModel
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.ledger import read_events
from fedrec.privacy_config import CorrelatedNoiseConfig, Mode, PopularityConfig, ReleasedMetricsConfig
from fedrec.secagg.planned import plan_of
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Instruction, Replies, Reply
from fedrec.training.collecting import Engine
from fedrec.training.examples import Example, Shape, examples_of
from fedrec.training.recipe import Recipe
from fedrec.training.reference import ReferenceEngine
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

POPULARITY = PopularityConfig(items=10, noise_multiplier=4.0)
METRICS_NOISE = 4.0
_ITEMS, _WIDTH, _RANK = 40, 12, 6
# Clients of `central` mode rest a round, so that one round in three has nobody and is dropped.
_ROUNDS, _BANDS = 3, 2
_POSITIONS = 60

Data = Callable[[AdaptedModel], list[Example]]


@dataclass(frozen=True, slots=True, eq=False)
class Witnessed:
    """What left the clients, and what was written down.

    replies: with the round and the task that each answers. adapters: before the first
    round and after each. records, events, device_events: of rounds.jsonl, of the server's
    ledger, and of every client's own.
    """

    replies: Sequence[tuple[str, Reply]]
    adapters: Sequence[FlatAdapter]
    records: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    device_events: Sequence[Sequence[Mapping[str, Any]]]
    prior: Floats | None


@dataclass(frozen=True, eq=False, kw_only=True)
class CrowdBench(Workbench):
    """The deployed clients over data of our choosing, one maker of examples a client."""

    data: Sequence[Data]

    def examples(self, client: int) -> list[Example]:
        """What a client's maker makes; it may raise, as reading a damaged history does."""
        return self.data[client](self.model)


@dataclass(frozen=True, slots=True, eq=False)
class RecordingEngine:
    """Asks every client twice, as after a lost answer, and keeps all that it says."""

    engine: Engine
    replies: list[tuple[str, Reply]] = field(default_factory=list)

    def clients(self, number: int) -> Sequence[int] | Ints:
        """Those of the other engine."""
        return self.engine.clients(number)

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:
        """The first answers, as they are; a client that breaks down has said so."""
        for client in cohort:
            first, again = (self._answer(instruction, client, timeout) for _ in range(2))
            asked = f"{instruction.task} of round {instruction.round}"
            self.replies.extend([(f"{asked}, first asked", first), (f"{asked}, asked again", again)])
            yield first

    def _answer(self, instruction: Instruction, client: int, timeout: float) -> Reply:
        try:
            (reply,) = self.engine.collect(instruction, [client], timeout=timeout)
        except Exception as error:
            return Reply(client=client, code=type(error).__name__)
        if isinstance(reply, Replies):
            raise TypeError("An audit asks one client at a time.")
        return reply


def nothing(model: AdaptedModel) -> list[Example]:  # noqa: ARG001
    """No example at all."""
    return []


def people() -> list[Data]:
    """Clients with nothing, little and much to learn from, and clients on whose data something breaks."""
    draw = np.random.default_rng(0)
    little, much = history_of([1, 2, 3]), [random_history(draw, events=80, items=_ITEMS) for _ in range(4)]

    def some(*histories: Any) -> Data:
        shape = Shape(positions=_POSITIONS, window=_POSITIONS)
        return lambda model: examples_of(histories, model.base.tower, shape, items=_ITEMS)

    def unknown_items(model: AdaptedModel) -> list[Example]:
        return [replace(each, targets=each.targets + _ITEMS) for each in some(little)(model)]

    def not_finite(model: AdaptedModel) -> list[Example]:
        return [replace(each, aims=each.aims * np.float32(np.nan)) for each in some(little)(model)]

    return [nothing, some(little), some(much[0]), some(*much), unknown_items, not_finite, _damaged, _unreadable]


def _damaged(model: AdaptedModel) -> list[Example]:  # noqa: ARG001
    raise DataError("The history of this audit is damaged on purpose. Nothing to do.")


def _unreadable(model: AdaptedModel) -> list[Example]:  # noqa: ARG001
    raise RuntimeError("on purpose")


def witness(mode: Mode, data: Sequence[Data], *, items: int = _ITEMS, rounds: int = _ROUNDS) -> Witnessed:
    """Run rounds of these clients with every release that the mode has, on ledgers that are thrown away."""
    with tempfile.TemporaryDirectory(dir=memory()) as place:
        folder = RunFolder(Path(place), "", resume=False)
        bench = _bench(_scenario(mode, clients=len(data), rounds=rounds), data, items=items)
        engine = RecordingEngine(ReferenceEngine(bench, folder))
        start = ServerState.start(np.zeros(bench.model.layout.size, dtype=np.float32))
        adapters, released = [start.adapter], list[Floats]()
        hooks = Hooks(
            measure=lambda state: adapters.append(state.adapter),
            publish=lambda *_: None,
            report=lambda _: None,
            prior=released.append,
        )
        recipe = Recipe(
            federation=bench.scenario.federation,
            plan=bench.plan,
            layout=bench.model.layout.hash,
            run_id="audit",
            seed=0,
            noise="system",
            catalogue=items,
        )
        run_rounds(folder, engine, recipe, start, hooks)
        return Witnessed(
            replies=engine.replies,
            adapters=adapters,
            records=folder.rounds(),
            events=read_events(folder.ledger),
            device_events=[read_events(folder.client(client) / "ledger.jsonl") for client in range(len(data))],
            prior=released[0] if released else None,
        )


def _scenario(mode: Mode, *, clients: int, rounds: int) -> Scenario:
    base = audited(mode, clients=clients)
    federation = FederationConfig(
        rounds=rounds, cohort=clients, server_optimizer="fedavg", server_rate=1.0, release_every=RELEASES
    )
    common = replace(base, federation=federation, privacy=replace(base.privacy, participations=rounds))
    if mode == "local":
        return common
    return replace(
        common,
        model=ModelConfig(prior="released"),
        correlated_noise=CorrelatedNoiseConfig(bands=_BANDS, separation=_BANDS),
        popularity=POPULARITY,
        released_metrics=ReleasedMetricsConfig(noise_multiplier=METRICS_NOISE),
    )


def _bench(scenario: Scenario, data: Sequence[Data], *, items: int) -> CrowdBench:
    # The makers stand in for a data set: there is none, and nothing asks for one.
    none = cast(Any, None)
    members: list[Ints] = [np.array([client]) for client in range(len(data))]
    return CrowdBench(
        scenario=scenario,
        dataset=none,
        split=none,
        index=none,
        query_vectors=none,
        model=small_model(items=items, width=_WIDTH, rank=_RANK),
        plan=plan_of(scenario),
        members=members,
        data=data,
    )
