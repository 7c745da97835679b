import json
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import RefusedError, VerificationError
from fedrec.privacy.chain import GENESIS
from fedrec.privacy.ledger import Ledger, read_events

EVENTS = [{"mechanism": "toy", "noise_multiplier": 0.5 + number, "text": "é"} for number in range(4)]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "device" / "ledger.jsonl"
    write(file, EVENTS)
    return file


def write(file, events):
    with Ledger(file) as ledger:
        for event in events:
            ledger.append(event)


def test_what_is_written_is_read_back_in_order(path):
    assert read_events(path) == EVENTS
    with Ledger(path) as ledger:
        assert ledger.entries == EVENTS


def test_an_absent_file_is_an_empty_ledger(tmp_path):
    assert read_events(tmp_path / "none.jsonl") == []
    with Ledger(tmp_path / "none.jsonl") as ledger:
        assert ledger.entries == []
        assert ledger.head == GENESIS


def test_every_entry_changes_the_head(tmp_path):
    heads = set()
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for _ in range(5):
            ledger.append({"same": "event"})
            heads.add(ledger.head)
    assert len(heads) == 5


def test_the_head_is_the_same_after_reopening(path):
    with Ledger(path) as ledger:
        head = ledger.head
    with Ledger(path) as again:
        assert again.head == head


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    file = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    write(file, EVENTS)
    return file.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_edited_byte_is_detected(tmp_path_factory, whole, data):
    position = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[position]))
    file = tmp_path_factory.mktemp("edited") / "ledger.jsonl"
    file.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
    with pytest.raises(VerificationError, match="edited, moved or damaged"):
        read_events(file)
    with pytest.raises(VerificationError):
        Ledger(file)


@pytest.mark.parametrize(("old", "new"), [(b"\n", b"\r"), (b'", "', b'",\t"'), (b"u00e9", b"u00E9"), (b"0.5", b".50")])
def test_an_edit_that_means_the_same_is_detected_too(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(VerificationError):
        read_events(path)


@settings(max_examples=30, deadline=None)
@given(removed=st.integers(0, 2))
def test_a_removed_line_before_the_last_is_detected(tmp_path_factory, whole, removed):
    lines = whole.splitlines(keepends=True)
    file = tmp_path_factory.mktemp("removed") / "ledger.jsonl"
    file.write_bytes(b"".join(lines[:removed] + lines[removed + 1 :]))
    with pytest.raises(VerificationError, match=f"entry {removed} "):
        read_events(file)


@given(order=st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
@settings(max_examples=23, deadline=None)
def test_reordered_lines_are_detected(tmp_path_factory, whole, order):
    lines = whole.splitlines(keepends=True)
    file = tmp_path_factory.mktemp("reordered") / "ledger.jsonl"
    file.write_bytes(b"".join(lines[row] for row in order))
    with pytest.raises(VerificationError):
        read_events(file)


def test_whole_lines_cut_off_the_end_can_only_be_seen_by_the_head(path):
    # Nothing within the file tells; releases hold the head, and the server counts participations.
    with Ledger(path) as ledger:
        head = ledger.head
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert read_events(path) == EVENTS[:-1]
    with Ledger(path) as ledger:
        assert ledger.head != head


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_torn_last_line_is_cut_and_appending_goes_on(tmp_path_factory, whole, data):
    last = len(b"".join(whole.splitlines(keepends=True)[:-1]))
    end = data.draw(st.integers(last, len(whole) - 2))
    file = tmp_path_factory.mktemp("torn") / "ledger.jsonl"
    file.write_bytes(whole[:end])
    assert read_events(file) == EVENTS[:-1]
    write(file, [{"more": 1}])
    assert read_events(file) == [*EVENTS[:-1], {"more": 1}]


def test_a_last_entry_that_lacks_only_its_line_end_counts_as_spent(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert read_events(path) == EVENTS
    write(path, [{"more": 1}])
    assert path.read_bytes().startswith(whole)
    assert read_events(path) == [*EVENTS, {"more": 1}]


def test_a_second_opening_is_refused_until_the_first_is_closed(path):
    with Ledger(path), pytest.raises(RefusedError, match="in use by another process"):
        Ledger(path)
    Ledger(path).close()


def test_two_processes_cannot_hold_one_ledger(path):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from fedrec.errors import RefusedError
        from fedrec.privacy.ledger import Ledger
        try:
            Ledger(Path({str(path)!r}))
        except RefusedError:
            print("refused")
    """)
    with Ledger(path):
        held = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    free = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (held.stdout, free.stdout) == ("refused\n", "")


def test_a_damaged_ledger_is_let_go_of(path):
    whole = path.read_bytes()
    path.write_bytes(b"x" + whole)
    with pytest.raises(VerificationError):
        Ledger(path)
    path.write_bytes(whole)
    Ledger(path).close()


def test_an_entry_is_on_the_disk_before_append_returns(path, monkeypatch):
    seen = []
    fsync = os.fsync

    def watch(handle):
        fsync(handle)
        seen.append(path.read_bytes())

    with Ledger(path) as ledger:
        monkeypatch.setattr(os, "fsync", watch)
        ledger.append({"paid": "now"})
    assert json.loads(seen[-1].splitlines()[-1])["event"] == {"paid": "now"}


def test_a_new_ledgers_name_is_on_the_disk_too(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle)))
    Ledger(tmp_path / "new" / "ledger.jsonl").close()
    assert (tmp_path / "new").stat().st_ino in synced


def test_a_change_to_the_event_after_appending_changes_nothing(tmp_path):
    event = {"participants": [1]}
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(event)
        event["participants"].append(2)
        ledger.append({"next": 1})
        assert ledger.entries == read_events(tmp_path / "ledger.jsonl")
