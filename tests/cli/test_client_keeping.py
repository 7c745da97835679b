"""`fedrec client keep` and `rotate-key`."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrec.cli.main import app
from fedrec.data.events import Kind
from fedrec.data.store.store import Store
from tests.ondevice.device_worlds import DAY, a_device, a_release, a_world, an_event


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDREC_KEY_FILE", "1")
    made = a_device(tmp_path / "device", a_release(tmp_path, a_world(items=12)))
    with Store.open(made) as store:
        for days, kind in ((400, Kind.LIKE), (40, Kind.VIEW), (1, Kind.SAVE)):
            store.add_event(an_event("i1", kind, time=int(time.time()) - days * DAY))
    return made


def answered(*words: str) -> dict:
    result = CliRunner().invoke(app, ["client", *words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def kinds(device: Path) -> list[str]:
    with Store.open(device) as store:
        return [each.event.kind.value for each in store.events()]


def test_what_is_older_goes_and_a_kind_has_days_of_its_own(device: Path) -> None:
    said = answered("keep", str(device), "--days", "365", "--kind", "view=30")
    assert said == {"days": 365, "kinds": {"view": 30}, "deleted": 2}
    assert kinds(device) == ["save"]


def test_without_days_everything_is_kept_again(device: Path) -> None:
    answered("keep", str(device), "--days", "365")
    assert answered("keep", str(device)) == {"days": None, "kinds": {}, "deleted": 0}


@pytest.mark.parametrize("wrong", [["--days", "0"], ["--kind", "views=3"], ["--kind", "view"], ["--kind", "view=-1"]])
def test_days_that_are_none_delete_nothing(device: Path, wrong: list[str]) -> None:
    from fedrec.errors import FedrecError

    with pytest.raises(FedrecError):
        CliRunner().invoke(app, ["client", "keep", str(device), *wrong], catch_exceptions=False)
    assert len(kinds(device)) == 3


def test_a_new_key_opens_the_store_and_the_old_one_does_not(device: Path) -> None:
    before = (device / "store.key").read_bytes()
    assert answered("rotate-key", str(device)) == {"rotated": True}
    assert (device / "store.key").read_bytes() != before
    assert len(kinds(device)) == 3
