"""Several processes on one store, and processes that are killed at any moment."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from tests.data.store.conftest import liked

WORKER = Path(__file__).with_name("kill_worker.py")
START = (
    "from pathlib import Path; from tests.data.store.conftest import liked; from fedrec.data.store.store import Store"
)


def run(folder, script):
    """What another process prints, with the store open as `store`."""
    body = f"{START}\nwith Store.open(Path({str(folder)!r}), keys='file') as store:\n"
    done = subprocess.run(
        [sys.executable, "-c", body + textwrap.indent(textwrap.dedent(script), "    ")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_two_processes_write_at_the_same_time_and_nothing_is_lost(store, folder):
    told = []
    script = "for number in range(150): store.add_event(liked('theirs'))"
    other = threading.Thread(target=lambda: told.append(run(folder, script)))
    other.start()
    ours = 0
    while other.is_alive():
        store.add_event(liked("ours"))
        ours += 1
    other.join()
    items = [stored.event.item_id for stored in store.events()]
    assert (items.count("theirs"), items.count("ours")) == (150, ours)


def test_threads_share_one_store(store):
    def write():
        for _ in range(50):
            with store.transaction():
                store.set_value("count", store.value("count", 0) + 1)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.value("count") == 200


def test_a_process_goes_on_when_another_changes_the_key(store, folder):
    store.add_event(liked("before"))
    version = store.data_version()
    assert run(folder, "store.rotate_key(); print(len(store.events()))") == "1"
    store.add_event(liked("after"))
    assert [stored.event.item_id for stored in store.events()] == ["before", "after"]
    assert store.data_version() != version
    assert run(folder, "print(len(store.events()))") == "2"


def test_a_process_notices_that_another_erased(store, folder):
    store.add_event(liked("before"))
    version = store.data_version()
    run(folder, "store.erase()")
    assert store.data_version() != version
    assert store.events() == []
    assert run(folder, "print(len(store.events()))") == "0"


def test_a_reader_in_another_process_does_not_hold_an_event_up(store, folder):
    with Store.open(folder, keys="file") as other, other.transaction():
        other.add_event(liked("theirs"))
        assert store.events() == []
    assert len(store.events()) == 1


def test_a_start_with_a_key_file_imports_no_keyring(store, folder):
    store.add_event(liked("a"))
    script = "import sys; store.events(); print('numpy' in sys.modules, 'keyring' in sys.modules)"
    assert run(folder, script) == "True False"


@pytest.mark.slow
@pytest.mark.parametrize(("work", "times"), [("events", 100), ("keys", 60), ("erase", 40), ("create", 40)])
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(folder, work, times):
    done = subprocess.run(
        [sys.executable, str(WORKER), work, str(times), str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{times} kills")
