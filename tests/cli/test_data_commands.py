import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedrec.data.dataset import Dataset
from fedrec.errors import ConfigError, DataError, FedrecError

if TYPE_CHECKING:
    from typer.testing import Result

# typer 0.20 imports a name that click 8.5 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

MAPPING = """
[[events]]
file = "events.csv"
format = "csv"
user = "who"
item = "what"
timestamp = "when"
kind = "like"

[catalogue]
file = "items.csv"
format = "csv"
id = "id"
title = "title"
"""


def run(*arguments: object) -> "Result":
    from typer.testing import CliRunner

    from fedrec.cli.data import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, FedrecError):
        raise result.exception
    return result


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "items.csv").write_text("id,title\na,One\n")
    (tmp_path / "events.csv").write_text("who,what,when\nann,a,1\nann,a,1\n")
    return tmp_path


def test_a_table_is_imported_and_its_repairs_are_shown(table: Path) -> None:
    result = run("import", "table", table, "--out", table / "out", "--mapping", table / "mapping.toml")
    assert result.exit_code == 0
    assert "1 users, 1 items, 1 events" in result.stdout
    assert "1 duplicate_event (exactly the same event again: left out)" in result.stdout
    assert str(table / "out.user-key") in result.stdout
    assert Dataset.open(table / "out").info.events == 1


def test_json_is_one_object_on_stdout_and_nothing_else(table: Path) -> None:
    key = table / "key"
    result = run(
        "import",
        "table",
        table,
        "--out",
        table / "out",
        "--mapping",
        table / "mapping.toml",
        "--user-key",
        key,
        "--json",
    )
    shown = json.loads(result.stdout)
    assert shown["repairs"] == {"duplicate_event": 1}
    assert (shown["path"], shown["user_key"], shown["users"]) == (str(table / "out"), str(key), 1)
    assert key.exists()


def test_a_table_without_a_mapping_and_a_mapping_without_a_table_are_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match="needs `--mapping FILE`"):
        run("import", "table", table, "--out", table / "out")
    with pytest.raises(ConfigError, match="takes no `--mapping`"):
        run("import", "mind", table, "--out", table / "out", "--mapping", table / "mapping.toml")


@pytest.mark.parametrize("importer", ["movielens", "amazon", "mind"])
def test_every_named_importer_says_what_its_folder_lacks(table: Path, importer: str) -> None:
    with pytest.raises(DataError, match=r"ratings\.csv|jsonl|news\.tsv"):
        run("import", importer, table, "--out", table / "out")
    assert not (table / "out").exists()


def test_an_unknown_importer_and_an_unknown_download_are_usage_errors(tmp_path: Path) -> None:
    assert run("import", "netflix", tmp_path, "--out", tmp_path / "out").exit_code == 2
    with pytest.raises(ConfigError, match="not a known data set"):
        run("download", "netflix", "--out", tmp_path / "out")


def test_a_synthetic_world_is_made(tmp_path: Path) -> None:
    pytest.importorskip("fedrec.data.synthetic")
    result = run("synth", "--users", 20, "--items", 30, "--seed", 1, "--out", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["users"] == Dataset.open(tmp_path / "out").info.users
