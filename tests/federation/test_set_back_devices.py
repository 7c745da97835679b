"""Devices that lost what they last wrote, or run twice: no second input is ever masked under the masks of a first."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.store.store import Store
from fedrec.errors import RefusedError
from fedrec.federation.device_client import device_participant
from fedrec.privacy.device_ledger import DeviceLedger
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.client_records import StoredRecords
from fedrec.training.masking import MaskedReply
from tests.federation.people import READY, People

# Of SQLite: every commit is on the disk before the next statement.
FULL = 2


@pytest.fixture
def people(tmp_path: Path) -> People:
    found = People(tmp_path)
    found.pin(found.document())
    return found


def another(instruction: Instruction) -> Instruction:
    """The same round with another adapter: other words."""
    return replace(instruction, adapter=np.full_like(instruction.adapter, 0.01))


def test_a_device_that_lost_its_words_to_a_power_cut_masks_no_others(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, requests = people.asked(Stage.MASK)
    device, left = people.devices[0], tmp_path / "left"
    append = DeviceLedger.append

    def paid(ledger: DeviceLedger, event: dict[str, object]) -> None:
        append(ledger, event)
        shutil.copytree(device, left)

    monkeypatch.setattr(DeviceLedger, "append", paid)
    first = people.answer(10, Stage.MASK, requests[10])
    monkeypatch.undo()
    shutil.rmtree(device)
    shutil.copytree(left, device)
    second = people.answer(10, Stage.MASK, requests[10], instruction=another(people.instruction()))
    assert first.answer
    assert (second.answer, second.code, second.attempts) == (b"", "RefusedError", 1)
    assert people.spent(10) == ["token"]


def test_what_a_device_says_in_a_sum_is_on_its_disk_whatever_happens_to_the_power(people: People) -> None:
    """Or it would go back to before it called a neighbour gone, and call it there."""
    synchronous: list[int] = []
    with Store.open(people.devices[0]) as store:

        def ask() -> None:
            synchronous.append(store._database.rows("PRAGMA synchronous")[0][0])

        records = StoredRecords(store, before_keeping=ask)
        records.keep_session("token", b"state", before=None)
        records.keep("token", np.zeros(2, np.float32), attempts=1)
    assert synchronous == [FULL, FULL]


@pytest.mark.parametrize("stage", [Stage.ADVERTISE, Stage.SHARE])
def test_a_device_that_is_asked_an_earlier_stage_again_still_has_its_words(people: People, stage: Stage) -> None:
    first = people.first_request()
    _, requests = people.asked(Stage.SHARE)
    earlier = {Stage.ADVERTISE: first, Stage.SHARE: requests[10]}[stage]
    server, requests = people.asked(Stage.MASK)
    masked = people.answer(10, Stage.MASK, requests[10])
    people.answer(10, stage, earlier)
    assert people.answer(10, Stage.MASK, requests[10]) == masked
    assert people.spent(10) == ["token"]
    assert server.stage is Stage.MASK


class _AtOnce(StoredRecords):
    """Of a process that is overtaken by another one of its device between what it reads and what it writes."""

    def __init__(self, store: Store, *, overtaken: Callable[[], object]) -> None:
        super().__init__(store)
        self._overtaken = overtaken

    def session(self, token: str) -> bytes | None:
        found, overtaken = super().session(token), self._overtaken
        self._overtaken = lambda: None
        overtaken()
        return found


def overtaken(people: People, stage: Stage, request: bytes, *, first: Callable[[], object]) -> MaskedReply:
    """What a device's second process answers that began before the first."""
    device = people.devices[0]
    with Store.open(device) as store:
        usual = device_participant(device, store, state=READY)
        client = replace(usual.client, records=_AtOnce(store, overtaken=first))
        return replace(usual, client=client).answer(another(people.instruction()), stage, request)


def test_of_two_processes_of_one_device_one_masks_an_input(people: People) -> None:
    _, requests = people.asked(Stage.MASK)
    heard: list[MaskedReply] = []
    second = overtaken(
        people,
        Stage.MASK,
        requests[10],
        first=lambda: heard.append(people.answer(10, Stage.MASK, requests[10])),
    )
    assert heard[0].answer
    assert (second.answer, second.code) == (b"", "RefusedError")
    assert people.spent(10) == ["token"]


def test_of_two_processes_of_one_device_one_says_who_is_there(people: People) -> None:
    """Or one would reveal its neighbours' seeds, and the other their keys."""
    server, requests = people.asked(Stage.ACKNOWLEDGE)
    with pytest.raises(RefusedError, match="Another process"):
        overtaken(
            people,
            Stage.ACKNOWLEDGE,
            requests[10],
            first=lambda: people.answer(10, Stage.ACKNOWLEDGE, requests[10]),
        )
    assert server.stage is Stage.ACKNOWLEDGE
