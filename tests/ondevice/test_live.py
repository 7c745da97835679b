"""The live history is what a fresh reading of the store would be, whatever came in which order."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.entries import DEFAULT_WEIGHTS, PositiveRule, history_of, is_query
from fedrec.data.events import Event, Kind
from fedrec.ondevice.live import KINDS, TEXT, LiveHistory

ITEMS = [f"i{row}" for row in range(4)]
ROWS = {item: row for row, item in enumerate(ITEMS)}

events = st.builds(
    Event,
    user_id=st.just("me"),
    item_id=st.sampled_from([*ITEMS, "unknown", None]),
    timestamp=st.integers(0, 6),
    kind=st.sampled_from(list(Kind)),
    text=st.sampled_from([None, "", "words"]),
    context=st.sampled_from([None, "evening", "morning"]),
)


def a_history(*, texts: bool = True) -> LiveHistory:
    return LiveHistory(ROWS.get, weights=DEFAULT_WEIGHTS, texts=texts)


def loaded(stored: Sequence[tuple[int, Event]]) -> LiveHistory:
    history = a_history()
    ordered = sorted(stored, key=lambda pair: (pair[1].timestamp, pair[0]))
    history.load(
        [
            (number, event.item_id, event.timestamp, event.kind.value, event.text is not None, event.context)
            for number, event in ordered
        ]
    )
    return history


def content(history: LiveHistory) -> list[tuple[object, ...]]:
    names = {number: name for name, number in history._labels.items()}
    return [(*entry.tolist()[:-1], names.get(entry["label"])) for entry in history.table]


@settings(deadline=None)
@given(st.lists(events, max_size=30), st.data())
def test_adding_and_removing_is_reading_what_is_left(recorded: list[Event], data: st.DataObject) -> None:
    history, stored = a_history(), {}
    for number, event in enumerate(recorded, start=1):
        stored[number] = event
        history.add(number, event)
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(stored)))
            stored.pop(gone)
            history.remove(gone)
            assert not history.remove(gone)
    assert content(history) == content(loaded(list(stored.items())))


@settings(deadline=None)
@given(st.lists(events, min_size=1, max_size=30), st.integers(1, 5))
def test_the_latest_entries_are_the_end_of_all(recorded: list[Event], window: int) -> None:
    history = loaded(list(enumerate(recorded, start=1)))
    assert history.latest(window).tolist() == history.table[-window:].tolist()


@settings(deadline=None)
@given(st.lists(events, max_size=20))
def test_entries_are_those_that_training_reads(recorded: list[Event]) -> None:
    history = loaded(list(enumerate(recorded, start=1)))
    stored = sorted(enumerate(recorded, start=1), key=lambda pair: (pair[1].timestamp, pair[0]))
    kept = [event for _, event in stored if is_query(event) or event.item_id in ROWS]
    rows = np.array([TEXT if is_query(event) else ROWS[event.item_id or ""] for event in kept], dtype=np.int64)
    expected = history_of(kept, rows, rule=PositiveRule(), weights=DEFAULT_WEIGHTS)
    assert history.table["row"].tolist() == expected.rows.tolist()
    assert history.table["time"].tolist() == expected.times.tolist()
    assert history.table["weight"].tolist() == expected.weights.tolist()
    assert [KINDS[kind] for kind in history.table["kind"]] == [event.kind for event in kept]


def test_a_history_grows_without_bound() -> None:
    history = a_history()
    for number in range(1, 1001):
        history.add(number, Event(user_id="me", item_id="i1", timestamp=number // 2, kind=Kind.VIEW))
    assert len(history) == 1000
    assert history.table["id"].tolist() == list(range(1, 1001))


def test_where_texts_cannot_be_read_they_are_left_out() -> None:
    history = a_history(texts=False)
    assert not history.add(1, Event(user_id="me", item_id="i1", timestamp=0, kind=Kind.COMMENT, text="words"))
    assert history.add(2, Event(user_id="me", item_id="i1", timestamp=0, kind=Kind.COMMENT))
    assert len(history) == 1


def test_a_label_that_nobody_used_matches_nothing() -> None:
    history = a_history()
    history.add(1, Event(user_id="me", item_id="i1", timestamp=0, kind=Kind.VIEW))
    history.add(2, Event(user_id="me", item_id="i1", timestamp=1, kind=Kind.VIEW, context="evening"))
    assert (history.table["label"] == history.label("noon")).tolist() == [False, False]
    assert (history.table["label"] == history.label("evening")).tolist() == [False, True]
