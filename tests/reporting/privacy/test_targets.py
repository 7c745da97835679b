"""Where a report goes: over an earlier report or into a new file, never over a record of a run."""

from pathlib import Path

import pytest

from fedrec.errors import ConfigError
from fedrec.reporting.privacy.report import privacy_report, write_privacy_report, write_report
from fedrec.reporting.privacy.targets import require_targets
from tests.reporting.privacy.runs import a_run

RECORDS = ("result.html", "audit.html", "config.toml", "ledger.jsonl", "rounds.jsonl", "ledger.seal", "signing.key")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize(
    "page", [*RECORDS, "releases", "clients", "releases/page.html", "clients/0/page.html", "releases/new/page.html"]
)
def test_a_page_that_would_take_the_place_of_a_record_is_refused_before_anything_is_written(
    run: Path, page: str
) -> None:
    report, before = privacy_report(run), contents(run)
    path = run / page
    with pytest.raises(ConfigError, match=r"kept for a record|no earlier report"):
        write_report(report, json_to=path.with_suffix(".json"), html_to=path, md_to=path.with_suffix(".md"))
    assert contents(run) == before


@pytest.mark.parametrize("content", ["{}", "[]", "notes", "", '{"format": 3}', "<!DOCTYPE html><title>Mine</title>"])
def test_a_file_that_is_no_report_is_never_replaced(tmp_path: Path, content: str) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text(content)
    with pytest.raises(ConfigError, match="no earlier report"):
        require_targets([tmp_path / "new.json", mine])


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    write_privacy_report(run)
    write_privacy_report(run)
    require_targets(run / f"privacy.{form}" for form in ("json", "html", "md"))


def test_two_names_of_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="would overwrite each other"):
        require_targets([tmp_path / "page.html", tmp_path / "link" / "page.html"])


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        require_targets([tmp_path / "file" / "deep" / "page.html"])
