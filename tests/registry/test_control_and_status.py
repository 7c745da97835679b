"""The operator's wishes and the state of rounds: the last counts, and what is past stays as it was."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fedrec.errors import ConfigError
from fedrec.registry.control import Control, ask, wished, wishes
from fedrec.registry.registry import Registry
from fedrec.registry.status import FinishedRound, RoundStatus, finish, finished_rounds, round_status, tell

WAITING = RoundStatus(
    catalogue="films",
    phase="waiting",
    round=3,
    rounds=10,
    needed=8,
    connected=5,
    replies=0,
    message="waits for 3 more nodes",
    since=100,
    updated_at=110,
)
FINISHED = FinishedRound(
    catalogue="films",
    run="run-1",
    round=3,
    finished_at=500,
    asked=10,
    replies=8,
    failures={"timeout": 2},
    seconds={"waiting": 1.5, "asking": 3.0},
    bytes=1000,
    epsilon=1.25,
    released_metrics={"ndcg@10": 0.1},
)


def _wish(wish: str, at: int = 1) -> Control:
    return Control(catalogue="films", wish=wish, by="console", at=at, reason="maintenance")  # type: ignore[arg-type]


def test_rounds_run_until_somebody_says_otherwise(registry: Registry) -> None:
    assert wished(registry, "films").wish == "run"


def test_the_last_wish_counts_and_all_are_remembered(registry: Registry) -> None:
    for number, wish in enumerate(("pause", "run", "stop")):
        ask(registry, _wish(wish, at=number))
    assert wished(registry, "films") == _wish("stop", at=2)
    assert [each.wish for each in wishes(registry, "films")] == ["pause", "run", "stop"]
    assert wished(registry, "books").wish == "run"


def test_the_same_wish_again_adds_nothing(registry: Registry) -> None:
    first = ask(registry, _wish("pause", at=1))
    assert ask(registry, _wish("pause", at=2)) == first
    assert wishes(registry, "films") == [first]


def test_a_wish_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no wish"):
        _wish("explode")


def test_a_round_is_told_anew_as_it_goes_on(registry: Registry) -> None:
    assert round_status(registry, "films") is None
    tell(registry, WAITING)
    asking = replace(WAITING, phase="asking", connected=8, message="asks 8 nodes")
    tell(registry, asking)
    assert round_status(registry, "films") == asking


def test_a_finished_round_stays_as_it_was_first_told(registry: Registry) -> None:
    finish(registry, FINISHED)
    finish(registry, replace(FINISHED, replies=1))
    assert finished_rounds(registry, "films") == [FINISHED]
    with pytest.raises(IntegrityError, match="never change"):
        registry.write(lambda session: session.execute(text("UPDATE finished_rounds SET round = 9")))


def test_the_last_rounds_come_in_their_order(registry: Registry) -> None:
    for number in range(1, 6):
        finish(registry, replace(FINISHED, round=number, finished_at=500))
    assert [each.round for each in finished_rounds(registry, "films", last=3)] == [3, 4, 5]
