"""`fedrec client`: a device from nothing to recommendations, and back to nothing, on the command line."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedrec.cli.client import app
from fedrec.errors import ConfigError, DataError, FedrecError, RefusedError
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.engine import Engine
from tests import private_devices as private_worlds
from tests.ondevice.device_worlds import a_device, a_release, a_text_world, a_world

FEDREC = Path(sys.executable).with_name("fedrec")


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_KEY_FILE", "1")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_release(tmp_path_factory.mktemp("published"), a_world(60))


@pytest.fixture
def device(tmp_path: Path, release: Path) -> Path:
    return a_device(tmp_path / "device", release)


def told(*arguments: object, given: str | None = None) -> str:
    """What a command prints; its errors are raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    if isinstance(done.exception, FedrecError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def answered(*arguments: object) -> Any:
    """The one JSON object that a command prints."""
    return json.loads(told(*arguments, "--json"))


def test_a_device_is_made_from_a_release_and_its_key(tmp_path: Path, release: Path) -> None:
    device = tmp_path / "new" / "device"
    made = answered("init", device, "--release", release, "--key", release.parent / "signing.pub")
    assert (made["release"], made["round"]) == (release.name.partition("-")[2], 0)
    assert stat.S_IMODE((device / "store.key").stat().st_mode) == 0o600
    assert len(answered("recommend", device, "-k", 3)["items"]) == 3


def test_a_device_is_not_made_twice_nor_from_a_foreign_release(tmp_path: Path, device: Path, release: Path) -> None:
    key = release.parent / "signing.pub"
    with pytest.raises(DataError, match="is a device already"):
        told("init", device, "--release", release, "--key", key)
    foreign = a_release(tmp_path / "foreign", a_world(10))
    with pytest.raises(RefusedError, match="signature is not of this key"):
        told("init", tmp_path / "other", "--release", foreign, "--key", key)
    assert not (tmp_path / "other" / "store.db").exists()
    with pytest.raises(RefusedError, match="signature is not of this key"):
        told("update", device, "--release", foreign)


def test_what_is_recorded_counts_in_the_next_list(device: Path) -> None:
    assert answered("record", device, "--item", "i3", "--kind", "like") == {"id": 1, "known": True}
    assert answered("record", device, "--item", "later", "--kind", "save", "--time", "2026-01-31T18:00") == {
        "id": 2,
        "known": False,
    }
    found = answered("recommend", device, "-k", 5, "--session", "i1", "--label", "evening")
    assert found.keys() == {"items", "release", "milliseconds"}
    assert {"item_id", "title", "score", "reasons"} <= found["items"][0].keys()
    assert {"because", "share"} <= found["items"][0]["reasons"][0].keys()
    assert "you liked Title 3" in {reason["because"] for item in found["items"] for reason in item["reasons"]}
    assert answered("export", device)["events"][0]["time"] == "2026-01-31T18:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "like"], "needs an item"),
        (["--kind", "search"], "needs the words"),
        (["--kind", "like", "--item", "i1", "--time", "soon"], "is no time"),
        (["--kind", "rate", "--item", "i1", "--value", "nan"], "finite"),
        (["--kind", "like", "--item", "i1", "--time", "9999999999999"], "between 1970 and 9999"),
    ],
)
def test_an_event_of_no_sense_is_refused(device: Path, arguments: Sequence[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        told("record", device, *arguments)
    assert answered("export", device)["events"] == []


def test_a_list_for_people_names_titles_and_reasons(device: Path) -> None:
    told("record", device, "--item", "i3", "--kind", "save")
    table = told("recommend", device, "-k", 4)
    assert "you saved Title 3" in table
    assert "Made on this device in" in table


def test_titles_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    world = a_world(20)
    hostile = replace(world, titles=[f"\x1b[2J[red]{title}[/red]\n\u202e" for title in world.titles])
    device = a_device(tmp_path / "device", a_release(tmp_path / "published", hostile))
    table = told("recommend", device, "-k", 2)
    assert "[red]" in table
    assert not {"\x1b", "\u202e"} & set(table)
    assert "\x1b" not in told("explain", device, "--item", "i1")


def test_an_explanation_adds_up(device: Path) -> None:
    told("record", device, "--item", "i3", "--kind", "like")
    why = answered("explain", device, "--item", "i7")
    assert sum(part["contribution"] for part in why["parts"]) == pytest.approx(why["score"], rel=1e-5, abs=1e-5)
    assert "Score" in told("explain", device, "--item", "i7")
    with pytest.raises(DataError, match="no such item"):
        told("explain", device, "--item", "none")


def test_feedback_is_given_and_taken_back(device: Path) -> None:
    before = answered("recommend", device, "-k", 60)["items"]
    given = answered("feedback", device, "--item", before[0]["item_id"], "--action", "block")
    after = {item["item_id"] for item in answered("recommend", device, "-k", 60)["items"]}
    assert before[0]["item_id"] not in after
    assert answered("undo", device, "--id", given["id"])["undone"]["action"] == "block"
    assert answered("recommend", device, "-k", 60)["items"] == before
    with pytest.raises(DataError, match="no feedback to undo"):
        told("undo", device)
    with pytest.raises(DataError, match="`adore` is no feedback"):
        told("feedback", device, "--item", "i1", "--action", "adore")


def test_nothing_is_spent_before_anything_is_sent(device: Path) -> None:
    assert "Nothing about you has left this device." in told("privacy", device)
    facts = answered("privacy", device)
    assert (facts["epsilon"], facts["participations"], facts["participation"]["on"]) == (0, 0, False)


def test_taking_part_needs_a_private_release_and_a_yes(tmp_path: Path, device: Path) -> None:
    with pytest.raises(RefusedError, match="WITHOUT privacy"):
        told("opt-in", device)
    (tmp_path / "private").mkdir()
    private = private_worlds.a_device(tmp_path / "private", private_worlds.a_release(tmp_path / "published"))
    assert answered("opt-in", private, "--not-only-charging", "--epsilon", 2) == {
        "on": True,
        "paused_until": None,
        "conditions": {"idle": True, "charging": False, "unmetered": True},
    }
    assert answered("privacy", private)["budget"] == 2
    assert "of 2 (delta" in told("privacy", private)
    assert answered("pause", private, "--hours", 5)["paused_until"] > 0
    assert "paused until" in told("pause", private)
    assert answered("pause", private, "--hours", 0)["paused_until"] is None
    assert "takes no part" in told("opt-out", private)
    with pytest.raises(ConfigError, match="allows nothing"):
        told("opt-in", private, "--epsilon", 0)


def test_an_export_is_written_for_its_owner_alone(tmp_path: Path, device: Path) -> None:
    told("record", device, "--kind", "search", "--text", "calm sea")
    out = tmp_path / "mine.json"
    told("export", device, "--out", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert json.loads(out.read_text())["events"][0]["text"] == "calm sea"


def test_erasing_asks_first_and_then_leaves_nothing(device: Path) -> None:
    told("record", device, "--item", "i3", "--kind", "like")
    with pytest.raises(RefusedError, match="Nothing was erased"):
        told("erase", device, given="n\n")
    assert len(answered("export", device)["events"]) == 1
    assert "Erased 1 events" in told("erase", device, given="y\n")
    assert answered("export", device)["events"] == []
    assert "said" in answered("erase", device, "--yes")


def test_what_was_added_is_exported_and_erased_too(tmp_path: Path) -> None:
    world = a_text_world(tmp_path / "encoder")
    device = a_device(tmp_path / "device", a_release(tmp_path / "published", world))
    with Engine.open(device) as engine:
        engine.add_items([Item(item_id="boat", title="sail anchor")])
    assert answered("export", device)["added_items"] == [{"item_id": "boat", "title": "sail anchor"}]
    told("erase", device, "--yes")
    assert not (device / "additions").exists()
    assert answered("export", device)["added_items"] == []


def test_a_release_is_changed_and_gone_back_from(device: Path, release: Path) -> None:
    newer = a_release(release.parent, a_world(60), round_number=3)
    assert answered("update", device, "--release", newer)["round"] == 3
    assert answered("rollback", device)["round"] == 0
    with pytest.raises(RefusedError, match="no earlier release"):
        told("rollback", device)


def test_an_update_goes_back_or_to_another_run_only_where_the_person_asks_for_that_release(
    device: Path, release: Path
) -> None:
    newer = a_release(release.parent, a_world(60), round_number=3)
    other = a_release(release.parent, a_world(60, seed=1), round_number=9, run="run-2")
    told("update", device, "--release", newer)
    with pytest.raises(RefusedError, match=r"never goes back.*--this-one"):
        told("update", device, "--release", release)
    with pytest.raises(RefusedError, match=r"of another run.*--this-one"):
        told("update", device, "--release", other)
    assert answered("update", device, "--release", newer)["round"] == 3
    assert answered("update", device, "--release", release, "--this-one")["round"] == 0
    assert answered("update", device, "--release", other, "--this-one")["round"] == 9


@pytest.mark.parametrize("command", [["recommend"], ["privacy"], ["undo"], ["export"], ["rollback"], ["page"]])
def test_a_folder_that_is_no_device_is_said_so(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(FedrecError, match=r"no store|no release|no earlier release"):
        told(*command, tmp_path)


def test_commands_of_a_device_load_neither_torch_nor_a_web_library(device: Path) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['fedrec', 'client', 'recommend', {str(device)!r}, '--json']\n"
        "from fedrec.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'polars', 'scipy', 'flwr', 'fastapi', 'uvicorn', 'pydantic', 'onnxruntime', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_command_line_works_where_only_the_edge_extra_is_installed(device: Path) -> None:
    missing = ["torch", "polars", "scipy", "flwr", "transformers", "peft", "opacus", "dp_accounting", "altair"]
    for arguments in (["--help"], ["client", "--help"], ["client", "recommend", str(device)]):
        script = (
            "import sys\n"
            f"sys.modules.update(dict.fromkeys({missing!r}))\n"
            f"sys.argv = ['fedrec', *{arguments!r}]\n"
            "from fedrec.cli.main import main\nmain()\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_an_error_is_one_line_and_its_exit_code_says_what_kind(tmp_path: Path, device: Path) -> None:
    refused = subprocess.run([FEDREC, "client", "opt-in", device], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    wrong = subprocess.run([FEDREC, "client", "recommend", tmp_path], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
