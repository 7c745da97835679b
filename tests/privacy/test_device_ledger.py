import json
import shutil
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.store.store import Store
from fedrec.errors import RefusedError, VerificationError
from fedrec.privacy.chain import GENESIS
from fedrec.privacy.device_ledger import DeviceLedger, device_ledger_head, read_device_events
from fedrec.privacy.ledger import Ledger

EVENTS = [{"mechanism": "toy", "noise_multiplier": 0.5 + number, "text": "é"} for number in range(4)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty") / "device"
    Store.create(folder, keys="file").close()
    return folder


@pytest.fixture
def store(empty, tmp_path):
    shutil.copytree(empty, tmp_path / "device")
    with Store.open(tmp_path / "device", keys="file") as opened:
        yield opened


def write(store, events):
    with DeviceLedger(store) as ledger:
        for event in events:
            ledger.append(event)


def test_an_empty_ledger_has_the_head_of_all_ledgers(store):
    assert (read_device_events(store), device_ledger_head(store)) == ([], GENESIS)
    with DeviceLedger(store) as ledger:
        assert (ledger.entries, ledger.head, ledger.hashes) == ([], GENESIS, {GENESIS})


def test_it_is_the_same_chain_as_in_a_file(store, tmp_path):
    write(store, EVENTS)
    with Ledger(tmp_path / "ledger.jsonl") as file:
        for event in EVENTS:
            file.append(event)
        with DeviceLedger(store) as ledger:
            assert (ledger.entries, ledger.head, ledger.hashes) == (file.entries, file.head, file.hashes)
    assert store.ledger_lines() == (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert (read_device_events(store), device_ledger_head(store)) == (EVENTS, file.head)


def test_several_events_are_appended_together(store):
    with DeviceLedger(store) as ledger:
        ledger.append_all(EVENTS[:3])
        ledger.append_all([])
        ledger.append(EVENTS[3])
    assert read_device_events(store) == EVENTS


def test_an_entry_is_there_when_the_store_is_opened_again(store):
    write(store, EVENTS)
    store.close()
    with Store.open(store.folder, keys="file") as again:
        assert read_device_events(again) == EVENTS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with Store.create(tmp_path_factory.mktemp("device"), keys="file") as made:
        write(made, EVENTS)
        yield made


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_edited_line_is_detected(written, data):
    number = data.draw(st.integers(0, 3))
    line = written.ledger_lines()[number]
    at = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda new: new != line[at]))
    edit(written, number, line[:at] + character + line[at + 1 :])
    try:
        with pytest.raises(VerificationError, match=f"entry {number} does not continue the chain"):
            DeviceLedger(written)
        with pytest.raises(VerificationError):
            read_device_events(written)
    finally:
        edit(written, number, line)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_line_before_the_last_is_detected(store, number):
    write(store, EVENTS)
    store._database.write("DELETE FROM ledger WHERE seq = ?", (number,))
    with pytest.raises(VerificationError, match=f"entry {number} "):
        DeviceLedger(store)


def edit(store, number, line):
    store._database.write("UPDATE ledger SET line = ? WHERE seq = ?", (line, number))


def test_a_damaged_ledger_is_let_go_of(store):
    write(store, EVENTS)
    line = store.ledger_lines()[2]
    edit(store, 2, line.replace("2.5", "0.5"))
    with pytest.raises(VerificationError):
        DeviceLedger(store)
    edit(store, 2, line)
    DeviceLedger(store).close()


def test_a_second_holder_is_refused_until_the_first_is_closed(store):
    with DeviceLedger(store), pytest.raises(RefusedError, match="in use by another process"):
        DeviceLedger(store)
    DeviceLedger(store).close()


def test_two_processes_cannot_hold_one_ledger(store):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from fedrec.data.store.store import Store
        from fedrec.errors import RefusedError
        from fedrec.privacy.device_ledger import DeviceLedger
        try:
            DeviceLedger(Store.open(Path({str(store.folder)!r}), keys="file"))
        except RefusedError:
            print("refused")
    """)
    with DeviceLedger(store):
        held = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    free = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (held.stdout, free.stdout) == ("refused\n", "")


def test_an_entry_that_the_store_refused_is_not_in_the_ledger(store):
    with DeviceLedger(store) as ledger:
        ledger.append(EVENTS[0])
        store.append_ledger_line(1, "somebody writes past the lock")
        with pytest.raises(RefusedError, match="another process wrote"):
            ledger.append(EVENTS[1])
        assert ledger.entries == EVENTS[:1]


def test_a_ledger_entry_joins_no_transaction_that_a_power_cut_could_take_back(store):
    with DeviceLedger(store) as ledger:
        with pytest.raises(RefusedError, match="durable=True"), store.transaction():
            ledger.append(EVENTS[0])
        assert (ledger.entries, store.ledger_lines()) == ([], [])
        with store.transaction(durable=True):
            ledger.append(EVENTS[0])
    assert read_device_events(store) == EVENTS[:1]


def test_the_ledger_survives_an_erasure_and_goes_on(store):
    write(store, EVENTS[:2])
    store.erase()
    write(store, EVENTS[2:])
    assert read_device_events(store) == EVENTS
    assert [json.loads(line)["seq"] for line in store.ledger_lines()] == [0, 1, 2, 3]


def test_an_entry_is_in_the_file_itself_when_append_returns(store):
    # What a damaged write-ahead log holds is lost without a word, so no entry is left there.
    write(store, EVENTS)
    (store.folder / "store.db-wal").write_bytes(b"")
    files = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    copy = store.folder.parent / "copy"
    copy.mkdir()
    for name in ("store.db", "store.json", "store.key"):
        (copy / name).write_bytes(files[name])
    with Store.open(copy, keys="file") as again:
        assert read_device_events(again) == EVENTS


def test_an_export_of_the_ledger_reads_like_the_ledger(store):
    write(store, EVENTS)
    assert [entry["event"] for entry in store.export()["ledger"]] == EVENTS
