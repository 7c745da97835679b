"""What an attacker with the folder sees: nothing of the person, before an erasure and after it."""

import numpy as np
import pytest

from fedrec.data.events import Kind
from fedrec.data.store.connection import DamagedError, connect
from fedrec.data.store.keys import FileKeys, read_keys
from fedrec.data.store.store import Store
from tests.data.store.conftest import liked

SECRETS = [
    "Nosferatu-tt0013442",
    "knee pain treatment",
    "a remark on page twelve",
    "in the small hours",
    "Weimar cinema",
]


def fill(store):
    item, text, comment, context, cluster = SECRETS
    for number in range(300):
        store.add_event(liked(item, number, context=context))
    search = store.add_event(liked(None, 1000, kind=Kind.SEARCH, text=text))
    store.add_event(liked(item, 1001, kind=Kind.COMMENT, text=comment))
    store.set_vector(search, "encoder", np.ones(384, dtype=np.float32))
    store.set_value("clusters", {"1": cluster})
    store.set_blob("reply", comment.encode() * 500)
    store.add_shown([item] * 50, 1000)
    store.append_ledger_line(0, '{"event": {"run": "Weimar cinema"}}')


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def revealed(folder, secrets=SECRETS):
    return [
        (name, secret)
        for name, content in contents(folder).items()
        for secret in secrets
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
        if secret.encode(encoding) in content
    ]


def blocks(content, size=32):
    return {content[start : start + size] for start in range(0, len(content) - size + 1, size)} - {bytes(size)}


def test_no_file_shows_an_id_or_a_text(store, folder):
    fill(store)
    assert {"store.db", "store.db-wal", "store.db-shm"} <= contents(folder).keys()
    assert revealed(folder) == []
    store.close()
    assert revealed(folder) == []


def test_the_files_do_not_even_show_that_they_are_a_database(store, folder):
    fill(store)
    store.close()
    content = (folder / "store.db").read_bytes()
    assert b"SQLite format" not in content
    assert b"CREATE TABLE" not in content
    # 4 bits of a byte's 8 would be a lot for text; random bytes have nearly all 8.
    shares = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256) / len(content)
    assert -(shares * np.log2(shares)).sum() > 7.9


def test_after_an_erasure_nothing_is_left_in_any_file(store, folder):
    fill(store)
    before = contents(folder)
    told = store.erase()
    assert "Erased 302 events" in told
    assert "1 ledger entries stay" in told
    assert revealed(folder) == []
    # The one setting counts erasures.
    assert store.counts() == {"events": 0, "vectors": 0, "settings": 1, "blobs": 0, "shown": 0, "ledger": 1}
    old = set().union(*(blocks(content) for name, content in before.items() if "lock" not in name))
    new = set().union(*(blocks(content) for content in contents(folder).values()))
    assert old & new == set()


def test_after_an_erasure_the_old_key_opens_nothing(store, folder):
    fill(store)
    (old_key,) = read_keys(folder, FileKeys(folder / "store.key")).values()
    store.erase()
    assert old_key.hex().encode() not in b"".join(contents(folder).values())
    store.close()
    with pytest.raises(DamagedError):
        connect(folder / "store.db", old_key)
    with Store.open(folder, keys="file") as again:
        assert again.events() == []
        assert len(again.ledger_lines()) == 1


def test_an_erased_store_does_not_tell_how_many_events_there_were(store):
    fill(store)
    store.erase()
    assert store.add_event(liked("a")) == 1


def test_what_guards_the_budget_outlasts_an_erasure(store):
    fill(store)
    store.set_value("spending.limit", 2.5)
    lines = store.ledger_lines()
    store.erase()
    assert store.ledger_lines() == lines
    assert store.values("spending.") == {"spending.limit": 2.5, "spending.erasures": 1}
    store.erase()
    assert store.value("spending.erasures") == 2


def test_an_erasure_takes_what_was_set_aside_and_its_key_along(store, folder):
    fill(store)
    store.close()
    content = bytearray((folder / "store.db").read_bytes())
    content[5000] ^= 1
    (folder / "store.db").write_bytes(content)
    with pytest.raises(Exception, match="set aside"):
        Store.open(folder, keys="file")
    with Store.create(folder, keys="file") as anew:
        assert len((folder / "store.key").read_text().splitlines()) == 2
        assert list(folder.glob("*damaged*"))
        anew.erase()
        assert len((folder / "store.key").read_text().splitlines()) == 1
        assert list(folder.glob("*damaged*")) == []


def test_a_change_of_key_keeps_everything_and_destroys_the_old_key(store, folder):
    fill(store)
    events, (old_key,) = store.events(), read_keys(folder, FileKeys(folder / "store.key")).values()
    store.rotate_key()
    assert store.events() == events
    store.add_event(liked("more", 9999))
    store.close()
    assert old_key.hex() not in (folder / "store.key").read_text()
    with pytest.raises(DamagedError):
        connect(folder / "store.db", old_key)
    with Store.open(folder, keys="file") as again:
        assert len(again.events()) == len(events) + 1
