"""Feedback: each action changes what it says, once, and undo leaves nothing of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.data.events import Kind
from fedrec.data.store.store import Store
from fedrec.errors import DataError
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.feedback import (
    Action,
    Closed,
    Feedback,
    closed,
    forget_gone,
    give,
    switch,
    undo,
)

BOAT = Item(item_id="boat", title="A boat", category="Sea", provider="Harbour")
PLANE = Item(item_id="plane", title="A plane", category="Sky", provider="Airport")
BARE = Item(item_id="bare", title="Nothing is known of it")
NOTHING = Closed(frozenset(), frozenset(), frozenset())


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.create(tmp_path_factory.mktemp("feedback") / "device", keys="file") as made:
        yield made


@pytest.fixture
def store(opened: Store) -> Store:
    """An empty store; making a new file for each test would take most of the time."""
    with opened.transaction():
        for stored in opened.events():
            opened.remove_event(stored.id)
        for name in opened.values():
            opened.delete_value(name)
    return opened


def said(action: Action, item: Item = BOAT, *, at: int = 1000, value: float | None = None) -> Feedback:
    return Feedback(action=action, item_id=item.item_id, value=value, time=at)


def everything(store: Store) -> tuple[list[Any], dict[str, Any]]:
    return [stored.event for stored in store.events()], store.values()


@pytest.mark.parametrize(
    ("action", "kind", "value"),
    [
        (Action.LIKE, Kind.LIKE, None),
        (Action.SAVE, Kind.SAVE, None),
        (Action.SHARE, Kind.SHARE, None),
        (Action.FINISH, Kind.PLAY, 1.0),
        (Action.SKIP, Kind.SKIP, None),
        (Action.HIDE, Kind.HIDE, None),
        (Action.BLOCK, Kind.BLOCK, None),
        (Action.NOT_THIS_TOPIC, Kind.HIDE, None),
        (Action.VIEW, Kind.VIEW, None),
        (Action.CLICK, Kind.CLICK, None),
        (Action.PURCHASE, Kind.PURCHASE, None),
    ],
)
def test_each_action_is_one_event_that_training_reads(
    store: Store, action: Action, kind: Kind, value: float | None
) -> None:
    number = give(store, said(action), BOAT)
    (stored,) = store.events()
    assert (stored.id, stored.event.kind, stored.event.value) == (number, kind, value)
    assert (stored.event.item_id, stored.event.timestamp) == ("boat", 1000)


def test_a_rating_keeps_its_value(store: Store) -> None:
    give(store, said(Action.RATE, value=2.5), BOAT)
    assert store.events()[0].event.value == 2.5


def test_hiding_closes_the_item_and_nothing_else(store: Store) -> None:
    give(store, said(Action.HIDE), BOAT)
    assert closed(store) == Closed(frozenset({"boat"}), frozenset(), frozenset())


def test_blocking_closes_the_item_and_its_provider(store: Store) -> None:
    give(store, said(Action.BLOCK), BOAT)
    assert closed(store) == Closed(frozenset({"boat"}), frozenset({"Harbour"}), frozenset())


def test_not_this_topic_closes_the_item_and_its_topic(store: Store) -> None:
    give(store, said(Action.NOT_THIS_TOPIC), BOAT)
    assert closed(store) == Closed(frozenset({"boat"}), frozenset(), frozenset({"Sea"}))


@pytest.mark.parametrize("action", [Action.BLOCK, Action.NOT_THIS_TOPIC])
def test_an_item_without_provider_and_topic_closes_itself_alone(store: Store, action: Action) -> None:
    give(store, said(action, BARE), BARE)
    assert closed(store) == Closed(frozenset({"bare"}), frozenset(), frozenset())


@pytest.mark.parametrize("action", Action)
def test_undo_takes_back_everything_that_an_action_changed(store: Store, action: Action) -> None:
    give(store, said(Action.BLOCK, PLANE), PLANE)
    before = everything(store)
    feedback = said(action, value=4.0 if action is Action.RATE else None)
    number = give(store, feedback, BOAT)
    assert everything(store) != before
    assert undo(store, number) == feedback
    assert everything(store) == before


def test_undo_twice_takes_back_the_last_two(store: Store) -> None:
    give(store, said(Action.LIKE, at=9000), BOAT)
    give(store, said(Action.HIDE, PLANE, at=100), PLANE)
    assert undo(store).action is Action.HIDE
    assert undo(store).action is Action.LIKE
    assert everything(store) == ([], {})
    with pytest.raises(DataError, match="no feedback to undo"):
        undo(store)


def test_the_same_feedback_cannot_be_undone_twice(store: Store) -> None:
    number = give(store, said(Action.LIKE), BOAT)
    undo(store, number)
    with pytest.raises(DataError, match="taken back before"):
        undo(store, number)


def test_undo_passes_over_what_was_only_looked_at(store: Store) -> None:
    give(store, said(Action.LIKE), BOAT)
    give(store, said(Action.VIEW, PLANE), PLANE)
    give(store, said(Action.CLICK, PLANE), PLANE)
    assert undo(store).action is Action.LIKE
    assert [stored.event.kind for stored in store.events()] == [Kind.VIEW, Kind.CLICK]


def test_a_feedback_can_be_undone_after_a_restart(tmp_path: Path) -> None:
    with Store.create(tmp_path / "device", keys="file") as store:
        give(store, said(Action.NOT_THIS_TOPIC), BOAT)
    with Store.open(tmp_path / "device", keys="file") as store:
        assert closed(store).topics == {"Sea"}
        assert undo(store).action is Action.NOT_THIS_TOPIC
        assert everything(store) == ([], {})


@pytest.mark.parametrize("action", [each for each in Action if each is not Action.RATE])
def test_a_double_click_counts_once(store: Store, action: Action) -> None:
    first = give(store, said(action, at=1000), BOAT)
    assert give(store, said(action, at=1001), BOAT) == first
    assert len(store.events()) == 1
    undo(store, first)
    assert everything(store) == ([], {})


def test_what_happens_again_later_counts_again_but_what_stands_does_not(store: Store) -> None:
    for at in (1000, 2000):
        give(store, said(Action.SKIP, at=at), BOAT)
        give(store, said(Action.LIKE, at=at), BOAT)
    assert [stored.event.kind for stored in store.events()].count(Kind.SKIP) == 2
    assert [stored.event.kind for stored in store.events()].count(Kind.LIKE) == 1


def test_another_rating_of_the_same_item_is_another_feedback(store: Store) -> None:
    first = give(store, said(Action.RATE, value=2.0), BOAT)
    assert give(store, said(Action.RATE, value=2.0), BOAT) == first
    assert give(store, said(Action.RATE, value=5.0), BOAT) != first


def test_a_topic_stays_muted_until_the_last_reason_for_it_is_taken_back(store: Store) -> None:
    other = Item(item_id="ship", title="A ship", category="Sea")
    first = give(store, said(Action.NOT_THIS_TOPIC), BOAT)
    second = give(store, said(Action.NOT_THIS_TOPIC, other), other)
    undo(store, first)
    assert closed(store).topics == {"Sea"}
    undo(store, second)
    assert closed(store) == NOTHING


def test_the_persons_own_switch_has_the_last_word(store: Store) -> None:
    number = give(store, said(Action.NOT_THIS_TOPIC), BOAT)
    switch(store, "topic", "Sea", off=False)
    assert closed(store).topics == frozenset()
    switch(store, "topic", "Sea", off=True)
    undo(store, number)
    assert closed(store).topics == {"Sea"}
    switch(store, "provider", "Harbour", off=True)
    assert closed(store).providers == {"Harbour"}
    switch(store, "provider", "Harbour", off=False)
    switch(store, "topic", "Sea", off=False)
    switch(store, "item", "boat", off=True)
    assert closed(store).items == {"boat"}
    switch(store, "item", "boat", off=False)
    assert closed(store) == NOTHING


def test_what_was_closed_outlasts_the_retention_of_its_event(store: Store) -> None:
    hidden = give(store, said(Action.HIDE), BOAT)
    liked = give(store, said(Action.LIKE, PLANE), PLANE)
    for number in (hidden, liked):
        store.remove_event(number)
    forget_gone(store)
    assert closed(store).items == {"boat"}
    assert not any(name.startswith("feedback.") for name in store.values())
    with pytest.raises(DataError):
        undo(store)


def test_feedback_on_an_item_that_the_catalogue_lacks_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="no such item"):
        give(store, said(Action.LIKE), None)
    with pytest.raises(DataError, match="no such item"):
        give(store, said(Action.LIKE), PLANE)
    assert everything(store) == ([], {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "rate"},
        {"action": "rate", "value": float("nan")},
        {"action": "rate", "value": 6},
        {"action": "rate", "value": -1},
        {"action": "rate", "value": True},
        {"action": "rate", "value": "good"},
        {"action": "like", "value": 1.0},
        {"action": "applaud"},
        {"action": None},
        {"action": "like", "item_id": ""},
        {"action": "like", "item_id": 7},
        {"action": "like", "time": -1},
        {"action": "like", "time": 1.5},
        {"action": "like", "time": 10**12},
        {"action": "like", "time": True},
    ],
)
def test_feedback_that_makes_no_sense_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError) as refused:
        Feedback(**({"item_id": "boat", "time": 0} | wrong))
    assert "\n" not in str(refused.value)
    assert "boat" not in str(refused.value)


def test_an_action_may_be_given_by_its_name() -> None:
    assert Feedback(action="not_this_topic", item_id="a", time=0).action is Action.NOT_THIS_TOPIC  # type: ignore[arg-type]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([each for each in Action if each is not Action.RATE]), st.sampled_from([0, 1, 2])),
        max_size=8,
    ),
    st.integers(0, 1000),
)
def test_whatever_was_said_undoing_all_of_it_in_any_order_leaves_nothing(
    store: Store, spoken: list[tuple[Action, int]], seed: int
) -> None:
    items = (BOAT, PLANE, BARE)
    numbers = {
        give(store, said(action, items[which], at=100 * at), items[which]) for at, (action, which) in enumerate(spoken)
    }
    for number in np.random.default_rng(seed).permutation(sorted(numbers)).tolist():
        undo(store, number)
    assert everything(store) == ([], {})
