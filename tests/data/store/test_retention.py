import time

import pytest

from fedrec.data.events import Kind
from fedrec.errors import DataError
from tests.data.store.conftest import liked

DAY = 86_400
NOW = 1_700_000_000


def items(store):
    return [stored.event.item_id for stored in store.events()]


def test_without_the_setting_everything_is_kept(store):
    store.add_event(liked("old", 0))
    assert store.apply_retention(NOW) == 0
    assert items(store) == ["old"]


def test_events_past_the_days_are_deleted(store):
    store.set_value("retention", {"days": 10})
    for item, age in [("just kept", 10 * DAY), ("past", 10 * DAY + 1), ("new", 0)]:
        store.add_event(liked(item, NOW - age))
    assert store.apply_retention(NOW) == 1
    assert items(store) == ["just kept", "new"]


def test_a_kind_has_days_of_its_own(store):
    store.set_value("retention", {"days": 10, "kinds": {"view": 1, "purchase": None}})
    for kind in [Kind.VIEW, Kind.PURCHASE, Kind.LIKE]:
        store.add_event(liked(kind.value, NOW - 5 * DAY, kind=kind))
    assert store.apply_retention(NOW) == 1
    assert items(store) == ["purchase", "like"]
    assert store.apply_retention(NOW + 30 * DAY) == 1
    assert items(store) == ["purchase"]


def test_an_event_from_the_future_ages_from_when_it_was_stored(store):
    store.set_value("retention", {"days": 10})
    store.add_event(liked("future", 250_000_000_000))
    assert store.apply_retention(time.time() + 9 * DAY) == 0
    assert store.apply_retention(time.time() + 11 * DAY) == 1


def test_ledger_settings_and_keys_do_not_age(store):
    store.set_value("retention", {"days": 1})
    store.set_blob("identity", b"key")
    store.append_ledger_line(0, "{}")
    store.apply_retention(NOW + 10_000 * DAY)
    assert store.counts() == {"events": 0, "vectors": 0, "settings": 1, "blobs": 1, "shown": 0, "ledger": 1}


def test_what_was_shown_is_forgotten_after_ninety_days(store):
    store.add_shown(["a"], NOW)
    store.apply_retention(NOW + 90 * DAY)
    assert store.shown_counts(0) == {"a": 1}
    store.apply_retention(NOW + 90 * DAY + 1)
    assert store.shown_counts(0) == {}


@pytest.mark.parametrize(
    "setting",
    [
        [],
        "10",
        {"days": -1},
        {"days": 0},
        {"days": True},
        {"days": "x"},
        {"years": 1},
        {"kinds": {"adore": 1}},
        {"kinds": []},
    ],
)
def test_a_setting_that_says_nothing_clear_deletes_nothing(store, setting):
    store.add_event(liked("a", 0))
    store.set_value("retention", setting)
    with pytest.raises(DataError, match="The setting retention is wrong"):
        store.apply_retention(NOW)
    assert items(store) == ["a"]
