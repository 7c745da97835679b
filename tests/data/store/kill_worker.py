"""Works on a store until it is killed, again and again; tells what was wrong afterwards.

`python kill_worker.py WORK TIMES FOLDER`. Each turn is a process of its own, forked so that
a hundred of them take seconds; what it acknowledged goes through a pipe.
"""

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedrec.data.events import Event, Kind
from fedrec.data.store.store import Store
from fedrec.errors import DataError

EVENTS = 40
DICE = np.random.default_rng()
# A piece of work, then what must hold of the store afterwards, given what was acknowledged.
Work = Callable[[Path, Callable[[str], None]], None]
Check = Callable[[Path, list[str], dict[str, int]], None]


def liked(item: str) -> Event:
    return Event(user_id="me", item_id=item, timestamp=1_700_000_000, kind=Kind.LIKE, text="some text " * 20)


def write_events(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store = Store.open(folder, keys="file")
    acknowledge("ready")
    while True:
        acknowledge(f"event {store.add_event(liked('a'))}")
        lines = len(store.ledger_lines())
        if DICE.random() < 0.03:
            store.append_ledger_line(lines, f"line {lines}")
            acknowledge(f"ledger {lines}")


def all_that_was_acknowledged(folder: Path, said: list[str], memory: dict[str, int]) -> None:
    with Store.open(folder, keys="file") as store:
        numbers = [stored.id for stored in store.events()]
        lines = store.ledger_lines()
    told = [int(line.split()[1]) for line in said if line.startswith("event")]
    known = memory.get("events", 0) + len(told)
    # At most the one in flight is more than what was acknowledged; never one less.
    assert numbers == list(range(1, len(numbers) + 1)), "numbers have gaps"
    assert known <= len(numbers) <= known + 1, f"{known} events acknowledged, {len(numbers)} there"
    known_lines = memory.get("lines", 0) + len([line for line in said if line.startswith("ledger")])
    assert lines == [f"line {number}" for number in range(len(lines))], "lines have gaps"
    assert known_lines <= len(lines) <= known_lines + 1, f"{known_lines} lines acknowledged, {len(lines)} there"
    memory.update(events=len(numbers), lines=len(lines))


def change_keys(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store = Store.open(folder, keys="file")
    acknowledge("ready")
    while True:
        store.rotate_key()
        acknowledge("changed")


def require_one_key(folder: Path) -> None:
    """The old key is gone, and so is one that was made and never used."""
    ((name, _),) = [line.split() for line in (folder / "store.key").read_text().splitlines()]
    assert list(folder.glob(".store.key*")) == [], "a draft of the key file is left"
    assert json.loads((folder / "store.json").read_text()) == {"keys": [name]}, "two names are left"


def nothing_lost_and_one_key(folder: Path, said: list[str], memory: dict[str, int]) -> None:
    with Store.open(folder, keys="file") as store:
        events = len(store.events())
        store.add_event(liked("more"))
    assert events == memory.get("events", EVENTS), f"{events} events"
    memory["events"] = events + 1
    require_one_key(folder)
    memory["changed"] = memory.get("changed", 0) + said.count("changed")


def erase(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store = Store.open(folder, keys="file")
    acknowledge("ready")
    while True:
        with store.transaction():
            for number in range(EVENTS):
                store.add_event(liked(f"item {number}"))
        store.erase()
        acknowledge("erased")


def all_or_nothing(folder: Path, said: list[str], memory: dict[str, int]) -> None:
    before = (folder / "store.db").read_bytes()
    with Store.open(folder, keys="file") as store:
        events = len(store.events())
        pending = store._database.rows("SELECT count(*) FROM pending")[0][0]
        lines = store.ledger_lines()
        require_one_key(folder)
        store.erase()
    assert events in (0, EVENTS), f"{events} events"
    assert pending == 0, "the erasure was not finished"
    assert lines == ["{}"], "the ledger is not whole"
    after = (folder / "store.db").read_bytes()
    assert before[4096:8192] not in after, "old pages are left"
    memory["erased"] = memory.get("erased", 0) + said.count("erased")


def create(folder: Path, acknowledge: Callable[[str], None]) -> None:
    acknowledge("ready")
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        Store.create(folder, keys="file").close()


def whole_or_absent(folder: Path, said: list[str], memory: dict[str, int]) -> None:
    assert said == ["ready"]
    try:
        Store.open(folder, keys="file").close()
        memory["whole"] = memory.get("whole", 0) + 1
    except DataError as error:
        assert "There is no store" in str(error) or "store.json" in str(error), str(error)
        memory["absent"] = memory.get("absent", 0) + 1
    if not (folder / "store.db").exists():
        Store.create(folder, keys="file").close()


WORKS: dict[str, tuple[Work, Check, float]] = {
    "events": (write_events, all_that_was_acknowledged, 0.1),
    "keys": (change_keys, nothing_lost_and_one_key, 0.2),
    "erase": (erase, all_or_nothing, 0.3),
    "create": (create, whole_or_absent, 0.1),
}


def killed(work: Work, folder: Path, *, within: float) -> list[str]:
    """What a process acknowledged before it was killed, at some moment after it was ready."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        try:
            work(folder, lambda said: os.write(writer, f"{said}\n".encode()))
        finally:
            os._exit(1)
    os.close(writer)
    select.select([reader], [], [], 30)
    time.sleep(DICE.uniform(0, within))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), "it stopped before it was killed"
    with os.fdopen(reader) as said:
        return said.read().splitlines()


def main(name: str, times: int, folder: Path) -> None:
    work, check, within = WORKS[name]
    memory: dict[str, int] = {}
    with Store.create(folder, keys="file") as store:
        if name == "keys":
            for _ in range(EVENTS):
                store.add_event(liked("a"))
        if name == "erase":
            store.append_ledger_line(0, "{}")
    for _ in range(times):
        check(folder, killed(work, folder, within=within), memory)
    print(f"{times} kills; {memory}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
