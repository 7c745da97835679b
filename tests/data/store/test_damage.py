import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedrec.data.store.store import Store
from fedrec.errors import DataError, VerificationError
from tests.data.store.conftest import liked

EVENTS = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a closed store."""
    folder = tmp_path_factory.mktemp("whole")
    with Store.create(folder, keys="file") as store:
        for number in range(EVENTS):
            store.add_event(liked(f"item {number}", number, text="some text " * 9))
        store.append_ledger_line(0, "{}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def laid_out(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@settings(max_examples=120, deadline=None)
@given(data=st.data())
@example(data=None)
def test_any_changed_byte_is_noticed_and_the_file_set_aside(tmp_path_factory, whole, data):
    content = bytearray(whole["store.db"])
    at = data.draw(st.integers(0, len(content) - 1)) if data else 0
    content[at] ^= data.draw(st.integers(1, 255)) if data else 1
    folder = laid_out(tmp_path_factory.mktemp("device") / "d", {**whole, "store.db": bytes(content)})
    with pytest.raises(VerificationError, match=r"is damaged and was set aside as store\.db\.damaged-\d{8}T\d{6}Z"):
        Store.open(folder, keys="file")
    (aside,) = folder.glob("store.db.damaged-*Z")
    assert aside.read_bytes() == content
    assert not (folder / "store.db").exists()


@pytest.mark.parametrize("length", [0, 1, 16, 100, 4095, 4096, 8192, -4096, -1])
def test_a_cut_file_is_set_aside(tmp_path, whole, length):
    cut = whole["store.db"][:length]
    # What is missing at the end reads as zeros: one encrypted byte in 256 is one, and nothing is lost with it.
    while not any(whole["store.db"][len(cut) :]):
        cut = cut[:-1]
    folder = laid_out(tmp_path / "d", {**whole, "store.db": cut})
    with pytest.raises(VerificationError, match="set aside"):
        Store.open(folder, keys="file")


def test_a_file_in_clear_is_set_aside(tmp_path, whole):
    import sqlite3

    folder = laid_out(tmp_path / "d", whole)
    (folder / "store.db").unlink()
    plain = sqlite3.connect(folder / "store.db")
    plain.execute("CREATE TABLE events (id INTEGER)")
    plain.commit()
    plain.close()
    with pytest.raises(VerificationError, match="set aside"):
        Store.open(folder, keys="file")


def test_a_store_that_was_set_aside_is_never_replaced_silently(tmp_path, whole):
    folder = laid_out(tmp_path / "d", {**whole, "store.db": b"x" * 9000})
    with pytest.raises(VerificationError, match="fedrec client init"):
        Store.open(folder, keys="file")
    with pytest.raises(DataError, match="There is no store"):
        Store.open(folder, keys="file")
    with Store.create(folder, keys="file") as anew:
        assert anew.events() == []
    assert len(list(folder.glob("store.db.damaged-*Z"))) == 1


def test_what_was_set_aside_by_mistake_can_be_put_back(tmp_path, whole):
    folder = laid_out(tmp_path / "d", {**whole, "store.db": b"x" * 9000})
    with pytest.raises(VerificationError):
        Store.open(folder, keys="file")
    (folder / "store.db").write_bytes(whole["store.db"])
    next(folder.glob("*.json")).rename(folder / "store.json")
    with Store.open(folder, keys="file") as store:
        assert len(store.events()) == EVENTS


def test_two_damaged_files_in_one_second_are_both_kept(tmp_path, whole):
    folder = laid_out(tmp_path / "d", whole)
    for number in range(3):
        (folder / "store.db").write_bytes(b"%d" % number * 9000)
        (folder / "store.json").write_bytes(whole["store.json"])
        with pytest.raises(VerificationError, match="set aside"):
            Store.open(folder, keys="file")
    assert len(list(folder.glob("store.db.damaged-*Z*.json"))) == 3


def test_a_damaged_store_that_another_has_open_is_not_moved_under_it(tmp_path, whole):
    folder = laid_out(tmp_path / "d", whole)
    with Store.open(folder, keys="file"):
        content = bytearray(whole["store.db"])
        content[9000] ^= 1
        (folder / "store.db").write_bytes(content)
        with pytest.raises(VerificationError, match="another process has it open"):
            Store.open(folder, keys="file")
    assert (folder / "store.db").exists()


def test_damage_under_an_open_store_is_told_and_the_next_opening_sets_it_aside(tmp_path, whole):
    folder = laid_out(tmp_path / "d", whole)
    with Store.open(folder, keys="file") as store:
        (folder / "store.db").write_bytes(os.urandom(len(whole["store.db"])))
        with pytest.raises(VerificationError, match="open it again"):
            store.rotate_key()
    with pytest.raises(VerificationError, match="set aside"):
        Store.open(folder, keys="file")


def test_a_full_disk_is_told_in_one_line_and_nothing_of_the_write_is_kept(store):
    store.add_event(liked("a"))
    pages = store._database.rows("PRAGMA page_count")[0][0]
    store._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DataError, match="the disk is full") as told, store.transaction():
        for _ in range(1000):
            store.add_event(liked("b", text="x" * 9000))
    assert "\n" not in str(told.value)
    store._database.rows("PRAGMA max_page_count = 100000")
    store.add_event(liked("c"))
    assert [stored.event.item_id for stored in store.events()] == ["a", "c"]


@contextmanager
def as_somebody_else():
    """Rights count for the superuser too while the block runs."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)


@pytest.fixture
def anyones():
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_folder_that_cannot_be_written_is_told_in_one_line(anyones):
    with as_somebody_else():
        Store.create(anyones / "device", keys="file").close()
        (anyones / "device").chmod(0o500)
        try:
            with pytest.raises(DataError, match="right to write") as told:
                Store.open(anyones / "device", keys="file")
            (anyones / "device").chmod(0o000)
            with pytest.raises(DataError, match="device"):
                Store.open(anyones / "device", keys="file")
        finally:
            (anyones / "device").chmod(0o700)
        assert "\n" not in str(told.value)
        Store.open(anyones / "device", keys="file").close()


def test_no_store_is_made_where_nothing_can_be_written(anyones):
    anyones.chmod(0o555)
    with as_somebody_else(), pytest.raises(DataError, match="right to write"):
        Store.create(anyones / "device", keys="file")


def test_a_part_of_a_store_that_a_kill_left_behind_is_replaced(folder):
    folder.mkdir()
    (folder / "store.db.draft").write_bytes(b"half of a store")
    (folder / "store.db-wal").write_bytes(b"the log of one that is gone")
    (folder / "store.json").write_text('{"keys": ["' + "0" * 32 + '"]}')
    with pytest.raises(DataError, match="There is no store"):
        Store.open(folder, keys="file")
    with Store.create(folder, keys="file") as store:
        store.add_event(liked("a"))
    with Store.open(folder, keys="file") as again:
        assert len(again.events()) == 1
    assert not (folder / "store.db.draft").exists()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The files of a store in the middle of its work, as a power cut leaves them; its last writes are in the log."""
    folder = tmp_path_factory.mktemp("interrupted")
    with Store.create(folder, keys="file") as store:
        for number in range(20):
            store.add_event(liked(f"item {number}"))
        store.append_ledger_line(0, "{}")
        for number in range(20, 60):
            store.add_event(liked(f"item {number}"))
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def opened(folder):
    with Store.open(folder, keys="file") as store:
        return [stored.event.item_id for stored in store.events()], store.ledger_lines()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_torn_log_loses_the_last_events_alone_and_no_ledger_line(tmp_path_factory, interrupted, data):
    log = interrupted["store.db-wal"]
    left = data.draw(st.integers(0, len(log)))
    folder = laid_out(tmp_path_factory.mktemp("device") / "d", {**interrupted, "store.db-wal": log[:left]})
    items, lines = opened(folder)
    assert items == [f"item {number}" for number in range(len(items))]
    assert 20 <= len(items) <= 60
    assert lines == ["{}"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_log_never_yields_what_was_not_written(tmp_path_factory, interrupted, data):
    name = data.draw(st.sampled_from(["store.db-wal", "store.db-shm"]))
    content = bytearray(interrupted[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    folder = laid_out(tmp_path_factory.mktemp("device") / "d", {**interrupted, name: bytes(content)})
    items, lines = opened(folder)
    assert items == [f"item {number}" for number in range(len(items))]
    assert len(items) >= 20
    assert lines == ["{}"]
