import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.events import Event, Kind
from fedrec.data.store.store import OWNER, Store
from fedrec.errors import DataError
from tests.data.store.conftest import liked

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
EVENTS = st.builds(
    Event,
    user_id=st.just(OWNER),
    item_id=st.none() | TEXTS.filter(bool),
    timestamp=st.integers(0, 253_402_300_799),
    kind=st.sampled_from(Kind),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    text=st.none() | TEXTS,
    context=st.none() | TEXTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Store.create(tmp_path_factory.mktemp("device"), keys="file") as made:
        yield made


@settings(max_examples=100, deadline=None)
@given(event=EVENTS)
def test_an_event_reads_back_as_it_was_written(shared, event):
    number = shared.add_event(event)
    stored = shared.event(number)
    assert (stored.id, stored.event) == (number, event)
    assert shared.remove_event(number)
    assert shared.event(number) is None


@settings(max_examples=20, deadline=None)
@given(events=st.lists(EVENTS, max_size=12))
def test_events_come_by_time_and_then_by_number(shared, events):
    numbers = [shared.add_event(event) for event in events]
    assert numbers == sorted(set(numbers))
    expected = sorted(zip(numbers, events, strict=True), key=lambda pair: (pair[1].timestamp, pair[0]))
    assert [(stored.id, stored.event) for stored in shared.events()] == expected
    assert all(shared.remove_event(number) for number in numbers)


@settings(max_examples=60, deadline=None)
@given(name=TEXTS.filter(bool), value=JSON)
def test_a_setting_reads_back_equal(shared, name, value):
    shared.set_value(name, value)
    assert shared.value(name) == value
    assert shared.values(name)[name] == value
    shared.delete_value(name)
    assert shared.value(name, "none") == "none"


@settings(max_examples=50, deadline=None)
@given(name=TEXTS.filter(bool), content=st.binary(max_size=3000))
def test_bytes_read_back_equal(shared, name, content):
    shared.set_blob(name, content)
    assert shared.blob(name) == content
    assert shared.blob_sizes() == {name: len(content)}
    shared.delete_blob(name)
    assert shared.blob(name) is None


def test_whoever_an_event_names_it_is_the_owners(store):
    number = store.add_event(liked("a", user_id="somebody else"))
    assert store.event(number).event.user_id == OWNER


def test_a_text_with_a_null_character_is_kept_whole(store):
    number = store.add_event(liked("a\0b", text="before\0after"))
    assert store.event(number).event.text == "before\0after"
    assert store.event(number).event.item_id == "a\0b"


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"timestamp": -1}, "not between 1970 and 9999"),
        ({"timestamp": 10**30}, "not between 1970 and 9999"),
        ({"timestamp": 1.5}, "whole seconds"),
        ({"value": math.nan}, "finite number"),
        ({"value": -math.inf}, "finite number"),
        ({"value": 10**400}, "finite number"),
        ({"value": "five"}, "finite number"),
        ({"text": "x" * 10_001}, "at most 10000"),
        ({"text": 5}, "text of type int"),
        ({"text": "\ud83d"}, "half a surrogate pair"),
        ({"item_id": "\udfff"}, "half a surrogate pair"),
        ({"item_id": ""}, "empty item id"),
        ({"item_id": "x" * 1001}, "at most 1000"),
        ({"context": "x" * 1001}, "at most 1000"),
        ({"kind": "adore"}, "no such kind"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line(store, wrong, line):
    event = dataclasses.replace(liked("a"), **wrong)
    with pytest.raises(DataError, match=line) as refused:
        store.add_event(event)
    assert "\n" not in str(refused.value)
    assert store.events() == []


@pytest.mark.parametrize("value", [math.nan, {1, 2}, b"bytes", {"deep": [math.inf]}])
def test_a_setting_that_is_not_json_is_refused(store, value):
    with pytest.raises(DataError, match="The setting taste is not JSON"):
        store.set_value("taste", value)


@pytest.mark.parametrize(
    "ask", [lambda s: s.value("\ud800"), lambda s: s.blob("\ud800"), lambda s: s.shown_counts(2**70)]
)
def test_asking_for_what_no_row_can_hold_is_an_error_of_one_line(store, ask):
    with pytest.raises(DataError, match="cannot be looked up"):
        ask(store)


@pytest.mark.parametrize("number", [0, -1, 99, 2**63, -(2**70)])
def test_a_number_that_no_event_has_is_no_error(store, number):
    assert store.event(number) is None
    assert store.remove_event(number) is False


def test_settings_are_found_by_how_their_names_begin(store):
    for name in ["topic.a", "topic.b", "topics", "%", "other"]:
        store.set_value(name, name)
    assert list(store.values("topic.")) == ["topic.a", "topic.b"]
    assert list(store.values("%")) == ["%"]
    assert len(store.values()) == 5


def test_vectors_are_kept_by_encoder_and_go_with_their_event(store):
    one, two = store.add_event(liked("a")), store.add_event(liked("b"))
    vector = np.arange(4, dtype=np.float32)
    store.set_vector(one, "hash", vector)
    store.set_vector(two, "hash", vector + 1)
    store.set_vector(two, "newer", vector)
    np.testing.assert_array_equal(store.vectors("hash")[two], vector + 1)
    store.remove_event(two)
    assert list(store.vectors("hash")) == [one]
    assert store.vectors("newer") == {}


@pytest.mark.parametrize("vector", [np.array([np.nan]), np.zeros((2, 2)), np.array([np.inf, 1])])
def test_a_vector_that_is_none_is_refused(store, vector):
    number = store.add_event(liked("a"))
    with pytest.raises(DataError, match="finite entries"):
        store.set_vector(number, "hash", vector.astype(np.float32))


def test_a_vector_for_no_event_is_refused(store):
    with pytest.raises(DataError, match="no event 7"):
        store.set_vector(7, "hash", np.zeros(3, dtype=np.float32))


def test_shown_items_are_counted_from_a_time_on(store):
    store.add_shown(["a", "b"], 100)
    store.add_shown(["a"], 200)
    assert store.shown_counts(0) == {"a": 2, "b": 1}
    assert store.shown_counts(101) == {"a": 1}


def test_a_transaction_is_kept_as_a_whole_or_not_at_all(store):
    with pytest.raises(KeyError), store.transaction():
        store.add_event(liked("a"))
        with store.transaction():
            store.set_value("x", 1)
        raise KeyError
    assert (store.events(), store.values()) == ([], {})
    with store.transaction():
        store.add_event(liked("a"))
        store.set_value("x", 1)
    assert len(store.events()) == 1


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(DataError, match="is closed"):
        store.events()
    with pytest.raises(DataError, match="is closed"):
        store.add_event(liked("a"))


def test_everything_is_there_after_reopening(store, folder):
    store.add_event(liked("a"))
    store.set_value("x", [1])
    store.set_blob("weights", b"w")
    store.close()
    with Store.open(folder, keys="file") as again:
        assert [stored.event for stored in again.events()] == [liked("a")]
        assert (again.value("x"), again.blob("weights")) == ([1], b"w")


@pytest.mark.usefixtures("store")
def test_a_second_store_in_the_folder_is_refused(folder):
    with pytest.raises(DataError, match="exists already"):
        Store.create(folder, keys="file")


def test_a_folder_without_a_store_says_what_to_do(folder):
    with pytest.raises(DataError, match="fedrec client init"):
        Store.open(folder, keys="file")


def test_only_the_owner_can_read_folder_and_files(store, folder):
    store.add_event(liked("a"))
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert {"store.db", "store.db-wal", "store.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_write_by_another_connection_changes_the_data_version_and_ones_own_does_not(store, folder):
    before = store.data_version()
    store.add_event(liked("a"))
    assert store.data_version() == before
    with Store.open(folder, keys="file") as other:
        other.add_event(liked("b"))
    assert store.data_version() != before
