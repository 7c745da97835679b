"""Rounds whose process dies at any moment of its writing come back by themselves, and hide no spending."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import participations
from fedrec.release import public_key, verify_release
from tests.service.devices import NAME, Place, Service
from tests.training.central_worlds import PowerCutError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cached")]
ROUNDS = 2
# Every block that a round can have: popularity before the first, metrics with each.
SETTINGS: dict[str, Any] = {
    "model": {"prior": "released"},
    "popularity": {"items": 2, "noise_multiplier": 1.0},
    "released_metrics": {"noise_multiplier": 4.0},
    "federation": {"rounds": ROUNDS, "cohort": 3, "over_selection": 0.34},
}


@contextmanager
def power_cut_at(write: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The power goes before the write of this number: of a file, of a ledger, or of the registry.

    Yields the number of writes that are left.
    """
    left = [write]
    sync = os.fsync

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            raise PowerCutError

    def counted_sync(handle: int) -> None:
        count()
        sync(handle)

    def counted_commit(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            count()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted_sync)
        event.listen(Engine, "commit", counted_commit)
        try:
            yield left
        finally:
            event.remove(Engine, "commit", counted_commit)


def require_sound(service: Service) -> None:
    """What has to hold at every moment, also while nothing runs."""
    paid = {entry["round"] for entry in service.ledger() if entry["kind"] == "update"}
    released = service.released()
    assert set(released) - {0} <= paid
    assert max(Counter(released).values(), default=1) == 1, "two releases of one round"
    key = public_key(service.folder.signing_key.with_suffix(".pub"))
    for path in (service.catalogue.run / "releases").glob("[0-9]*-*"):
        verify_release(path, key)
    with service.registry() as registry:
        pointers, known = registry.channel(NAME), {row.manifest_hash for row in registry.releases(NAME)}
    assert {pointer.manifest_hash for pointer in pointers} <= known
    assert [pointer.serial for pointer in pointers] == sorted({pointer.serial for pointer in pointers})


def require_finished(service: Service) -> None:
    """What has to hold once the rounds are done."""
    require_sound(service)
    assert service.released() == list(range(ROUNDS + 1))
    assert [each.round for each in service.finished()] == list(range(1, ROUNDS + 1))
    assert service.status().phase == "done"
    # Nobody is charged twice for a draw: a noised round is never asked for again.
    known = participations(service.ledger())
    assert max(known.values()) <= 12
    for number in range(5):
        own = [entry for entry in read_events(service.devices.ledger(number)) if entry["kind"] == "update"]
        assert len(own) <= known[number]
        taken = Counter(entry["token"] for entry in own)
        assert max(taken.values(), default=0) <= 2


def kill_and_go_on(path: Path, place: Place, *, write: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the power went before the end."""
    path.mkdir()
    service = Service(path, place, **SETTINGS)
    with power_cut_at(write, monkeypatch) as left, suppress(PowerCutError):
        service.serve()
    require_sound(service)
    service.grid = service.devices.grid()
    assert service.serve() == "done"
    require_finished(service)
    shutil.rmtree(path)
    return left[0] <= 0


@pytest.mark.parametrize("write", [2, 23, 47, 71, 97, 131])
def test_a_power_cut_at_a_write_is_survived(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    assert kill_and_go_on(tmp_path / "run", place, write=write, monkeypatch=monkeypatch)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_power_cut_at_any_write_is_survived(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write = 1
    while kill_and_go_on(tmp_path / str(write), place, write=write, monkeypatch=monkeypatch):
        write += 1
    assert write > 100


def test_a_second_power_cut_while_going_on_is_survived(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path, place, **SETTINGS)
    for write in (40, 17, 31, 23):
        with power_cut_at(write, monkeypatch), suppress(PowerCutError):
            service.serve()
        service.grid = service.devices.grid()
        require_sound(service)
    assert service.serve() == "done"
    require_finished(service)
