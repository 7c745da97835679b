"""`fedrec privacy report` from the shell: one object, three files, one line where it refuses."""

import json
from pathlib import Path

import jsonschema
import pytest

from fedrec.reporting.privacy.report import schema
from tests.cli.commands import Done, fedrec, fedrec_process
from tests.reporting.privacy.runs import CENTRAL, HUBS, a_run, changed

pytestmark = pytest.mark.slow


def report(*arguments: object) -> Done:
    return fedrec("privacy", "report", *arguments)


def test_json_on_stdout_is_the_file_and_obeys_the_schema(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    done = fedrec_process("privacy", "report", run, "--json", "--curator", "The board")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (run / "privacy.json").read_text()
    found = json.loads(done.stdout)
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert found["identity"]["curator"] == "The board"
    assert {"privacy.html", "privacy.md"} <= names(run)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_verdict_is_printed_and_all_three_files_go_into_the_folder_that_is_named(tmp_path: Path) -> None:
    run, before = a_run(tmp_path / "run"), a_run(tmp_path / "before", rounds=((0,), (1,)))
    out = tmp_path / "deep" / "out"
    records = names(run)
    done = report(run, "--also", before, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Private at epsilon")
    assert "\nNot met: " in done.stdout
    assert names(out) == {"privacy.json", "privacy.html", "privacy.md"}
    assert "before" in (out / "privacy.md").read_text()
    assert names(run) == records


def test_a_run_of_another_mode_on_the_same_people_is_added(tmp_path: Path) -> None:
    hubs, central = a_run(tmp_path / "hubs", HUBS), a_run(tmp_path / "central")
    alone, both = (
        json.loads(report(hubs, "--json").stdout),
        json.loads(report(hubs, "--also", central, "--json").stdout),
    )
    assert both["composition"]["spent"]["epsilon"] > alone["composition"]["spent"]["epsilon"]
    assert [each["mode"] for each in both["composition"]["earlier_runs"]] == ["central"]


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        (["--html"], {"privacy.json", "privacy.html"}),
        (["--md"], {"privacy.json", "privacy.md"}),
        (["--html", "--json", "--md"], {"privacy.json", "privacy.html", "privacy.md"}),
    ],
)
def test_the_forms_that_are_asked_for_are_written_beside_the_json(
    tmp_path: Path, flags: list[str], written: set[str]
) -> None:
    run = a_run(tmp_path / "run")
    records = names(run)
    done = report(run, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(run) - records == written
    assert (done.stdout == (run / "privacy.json").read_text()) == ("--json" in flags)


def test_a_seeded_run_is_announced_before_anything_else(tmp_path: Path) -> None:
    done = report(a_run(tmp_path / "run", changed(CENTRAL, privacy={"noise": "seeded"})))
    assert done.stdout.splitlines()[0] == "NOT A DP GUARANTEE"


def test_a_damaged_ledger_is_one_line_and_exit_code_1_and_writes_nothing(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    text = (run / "ledger.jsonl").read_text()
    (run / "ledger.jsonl").write_text(text.replace('"noise_multiplier": 4.0', '"noise_multiplier": 8.0', 1))
    before = sorted(path.name for path in run.iterdir())
    done = report(run, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "is not a run folder"),
        ([], "Missing argument"),
        (["nowhere", "--html", "page.html"], "unexpected extra argument"),
        (["nowhere", "--key", "nowhere.pub"], "no Ed25519 public key"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    done = report(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1
