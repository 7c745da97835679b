"""The flower engine over an in-process grid: what travels, and what a bad node can do."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.errors import BudgetError, ConfigError, UnsafeUpdateError
from fedrec.federation.grid_engine import Grid, GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.federation.messages import pack_instruction, pack_reply, unpack_instruction
from fedrec.privacy.plan import PopularityRelease, PrivacyPlan
from fedrec.training.client import Instruction, Reply
from tests.small_worlds import a_central_plan, a_plan

SIZE = 5


class Scripted:
    """Stands where a client does and replies by its script."""

    def __init__(self, script: Callable[[Instruction], Reply]) -> None:
        self.reply = script


def an_instruction(**changes: Any) -> Instruction:
    usual: dict[str, Any] = {
        "round": 3,
        "token": "token",
        "adapter": np.arange(SIZE, dtype=np.float32),
        "layout": "layout",
        "run": "run",
        "plan": a_plan(),
        "negatives_seed": 2**63 + 5,
    }
    return Instruction(**(usual | changes))


def fail(error: Exception) -> Callable[[Instruction], Reply]:
    def script(_: Instruction) -> Reply:
        raise error

    return script


def an_engine(scripts: list[Callable[[Instruction], Reply]]) -> GridEngine:
    app = build_client_app(lambda context: Scripted(scripts[int(context.node_config["partition-id"])]))  # type: ignore[arg-type,return-value]
    return engine_on(LocalGrid(app, clients=len(scripts)), clients=len(scripts))


def engine_on(grid: Grid, *, clients: int) -> GridEngine:
    return GridEngine(grid, IdentifiedNodes(grid, clients=clients, timeout=10))


def echo(instruction: Instruction) -> Reply:
    return Reply(client=-1, update=instruction.adapter + 1, attempts=1)


def test_an_instruction_arrives_as_it_was_sent() -> None:
    sent = an_instruction()
    found = unpack_instruction(pack_instruction(sent))
    assert (found.round, found.token, found.layout, found.plan, found.negatives_seed) == (
        sent.round,
        sent.token,
        sent.layout,
        sent.plan,
        sent.negatives_seed,
    )
    assert found.adapter.tobytes() == sent.adapter.tobytes()
    assert (found.run, found.task, found.prior) == (sent.run, "update", None)


@pytest.mark.parametrize(
    "plan",
    [
        None,
        a_plan(unit="SEGMENT"),
        a_central_plan(
            bands=3, separation=4, metrics_noise=5.0, popularity=PopularityRelease(items=3, noise_multiplier=2.0)
        ),
    ],
)
def test_a_plan_arrives_as_it_was_sent(plan: PrivacyPlan | None) -> None:
    prior = np.arange(7, dtype=np.float32)
    found = unpack_instruction(pack_instruction(an_instruction(plan=plan, task="popularity", prior=prior)))
    assert found.plan == plan
    assert found.task == "popularity"
    assert found.prior is not None
    assert found.prior.tobytes() == prior.tobytes()


def test_a_reply_holds_one_vector_a_code_and_a_count_and_nothing_else() -> None:
    records = pack_reply(Reply(client=7, update=np.ones(SIZE, np.float32), attempts=2))
    assert set(records) == {"reply", "update"}
    assert dict(records.config_records["reply"]) == {"code": "", "attempts": 2}
    assert list(records.array_records["update"]) == ["vector"]
    assert not records.metric_records


def test_replies_come_in_the_order_of_the_cohort() -> None:
    engine = an_engine([echo] * 4)
    assert list(engine.clients(1)) == [0, 1, 2, 3]
    replies = list(engine.collect(an_instruction(), [2, 0, 3], timeout=10))
    assert [reply.client for reply in replies] == [2, 0, 3]
    for reply in replies:
        assert reply.update is not None
        assert reply.update.tolist() == [1, 2, 3, 4, 5]
        assert (reply.code, reply.attempts) == ("", 1)


def test_a_refusal_is_a_code_and_a_crash_tells_nothing_of_its_cause() -> None:
    engine = an_engine([fail(BudgetError("cap reached")), fail(RuntimeError("Secret Film, user 17")), echo])
    replies = list(engine.collect(an_instruction(), [0, 1, 2], timeout=10))
    assert [(reply.code, reply.update is None) for reply in replies] == [
        ("BudgetError", True),
        ("crashed", True),
        ("", False),
    ]


def test_nodes_that_are_late_are_left_out_and_the_round_goes_on() -> None:
    def slow(instruction: Instruction) -> Reply:
        time.sleep(0.2)
        return echo(instruction)

    replies = list(an_engine([slow] * 3).collect(an_instruction(), [0, 1, 2], timeout=0.1))
    assert [reply.client for reply in replies] == [0]


RUBBISH: dict[str, Callable[[Message], RecordDict]] = {
    "nothing": lambda _: RecordDict(),
    "no attempts": lambda _: RecordDict({"reply": ConfigRecord({"code": ""})}),
    "another record": lambda _: RecordDict({"x": ConfigRecord({"code": "", "attempts": 1})}),
    "an update without a vector": lambda _: RecordDict(
        {"reply": ConfigRecord({"code": "", "attempts": 1}), "update": ArrayRecord({"y": Array(np.ones(2))})}
    ),
    "attempts as a list": lambda _: RecordDict({"reply": ConfigRecord({"code": "", "attempts": [1, 2]})}),
}


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_from_a_node_is_a_malformed_reply(rubbish: str) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, _: Context) -> Message:
        return Message(RUBBISH[rubbish](message), reply_to=message)

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        known = ConfigRecord({"client": int(context.node_config["partition-id"])})
        return Message(RecordDict({"identity": known}), reply_to=message)

    engine = engine_on(LocalGrid(app, clients=2), clients=2)
    replies = list(engine.collect(an_instruction(), [0, 1], timeout=10))
    assert [reply.code for reply in replies] == ["malformed", "malformed"]


def test_negative_attempts_count_as_none() -> None:
    engine = an_engine([lambda _: Reply(client=0, update=np.ones(SIZE, np.float32), attempts=-4)])
    (reply,) = engine.collect(an_instruction(), [0], timeout=10)
    assert reply.attempts == 0


def test_an_app_that_crashes_outside_our_handlers_is_an_error_reply() -> None:
    app = ClientApp()

    @app.query("identify")
    def identify(message: Message, _: Context) -> Message:
        return Message(RecordDict({"identity": ConfigRecord({"client": 0})}), reply_to=message)

    engine = engine_on(LocalGrid(app, clients=1), clients=1)
    (reply,) = engine.collect(an_instruction(), [0], timeout=10)
    assert (reply.client, reply.code) == (0, "client_error")


def test_two_nodes_may_not_claim_to_be_the_same_client() -> None:
    app = ClientApp()

    @app.query("identify")
    def identify(message: Message, _: Context) -> Message:
        return Message(RecordDict({"identity": ConfigRecord({"client": 0})}), reply_to=message)

    with pytest.raises(ConfigError, match="No client node answered"):
        engine_on(LocalGrid(app, clients=2), clients=2).clients(1)


@pytest.mark.parametrize("claim", [-3, 99, "zero"])
def test_a_node_that_claims_nonsense_is_left_out_and_the_others_take_part(claim: int | str) -> None:
    app = ClientApp()

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        own = int(context.node_config["partition-id"])
        return Message(RecordDict({"identity": ConfigRecord({"client": claim if own == 1 else own})}), reply_to=message)

    assert list(engine_on(LocalGrid(app, clients=3), clients=3).clients(1)) == [0, 2]


def test_a_grid_without_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="No client node answered"):
        engine_on(LocalGrid(ClientApp(), clients=0), clients=3).clients(1)


def mangled() -> Iterator[RecordDict]:
    """Instructions that a broken or hostile server might send."""
    for name in ("run", "round", "token", "layout", "plan", "negatives_seed", "task"):
        content = pack_instruction(an_instruction())
        settings = dict(content.config_records["instruction"])
        settings.pop(name)
        content["instruction"] = ConfigRecord(settings)
        yield content
    odd = {"run": "r" * 129, "token": "t\n", "round": -1, "task": "evil"}
    for name, value in odd.items():
        content = pack_instruction(an_instruction())
        content["instruction"][name] = value  # type: ignore[index]
        yield content
    content = pack_instruction(an_instruction())
    content["adapter"] = ArrayRecord({"vector": Array(np.zeros((2, 2), np.float32))})
    yield content
    content = pack_instruction(an_instruction())
    content["instruction"]["plan"] = '{"noise": 0}'  # type: ignore[index]
    yield content
    yield RecordDict()


@pytest.mark.parametrize("content", list(mangled()))
def test_a_mangled_instruction_is_refused(content: RecordDict) -> None:
    with pytest.raises(UnsafeUpdateError):
        unpack_instruction(content)


def test_a_node_of_a_simulation_is_asked_once_who_it_is_and_a_new_one_takes_part() -> None:
    questions: list[int] = []

    class Growing(LocalGrid):
        there = 1

        def get_node_ids(self) -> list[int]:
            return list(super().get_node_ids())[: self.there]

    app = ClientApp()

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        questions.append(number)
        return Message(RecordDict({"identity": ConfigRecord({"client": number})}), reply_to=message)

    grid = Growing(app, clients=2)
    engine = engine_on(grid, clients=2)
    assert [list(engine.clients(1)), list(engine.clients(1))] == [[0], [0]]
    grid.there = 2
    assert list(engine.clients(1)) == [0, 1]
    assert questions == [0, 1]
