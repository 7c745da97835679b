"""Who changed a channel and why: kept for good, in either database."""

from dataclasses import replace

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from fedrec.errors import ConfigError
from fedrec.registry.actions import Action, StoredAction, actions, write_down
from fedrec.registry.registry import Registry

FIRST = Action(catalogue="films", act="promote", release="a" * 64, by="operator token", at=100, reason="better figures")


def test_actions_are_kept_in_their_order_by_catalogue(registry: Registry) -> None:
    second = replace(FIRST, act="roll back", at=200, reason="worse than it looked")
    for action in (FIRST, second, replace(FIRST, catalogue="books")):
        write_down(registry, action)
    assert actions(registry, "films") == [FIRST, second]
    assert len(actions(registry, "books")) == 1


def test_the_same_action_written_twice_is_one(registry: Registry) -> None:
    write_down(registry, FIRST)
    write_down(registry, FIRST)
    assert actions(registry, "films") == [FIRST]


def test_what_was_done_is_never_changed_nor_forgotten(registry: Registry) -> None:
    write_down(registry, FIRST)
    for change in (update(StoredAction).values(reason="another"), delete(StoredAction)):
        with pytest.raises(DBAPIError):
            registry.write(lambda session, change=change: session.execute(change))
    assert actions(registry, "films") == [FIRST]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_an_action_needs_a_reason_of_some_length(reason: str) -> None:
    with pytest.raises(ConfigError, match="Say why"):
        replace(FIRST, reason=reason)
