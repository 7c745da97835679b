"""Where a report goes: over an earlier report or into a new file, never among or over the records of a run."""

import hashlib
from pathlib import Path

import pytest

from fedrec.errors import ConfigError
from fedrec.reporting.privacy.report import privacy_report, write_privacy_report, write_report
from fedrec.reporting.privacy.targets import require_targets
from tests.reporting.privacy.runs import a_run

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("folder", ["releases", "clients", "releases/new", "clients/0", "releases/../clients/0/deep"])
def test_a_folder_that_is_kept_for_records_is_refused_and_nothing_is_written(run: Path, folder: str) -> None:
    report, before = privacy_report(run), contents(run)
    with pytest.raises(ConfigError, match="kept for records"):
        write_report(report, run / folder)
    assert contents(run) == before


def test_a_link_into_the_releases_is_followed_before_it_is_judged(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run / "releases")
    with pytest.raises(ConfigError, match="kept for records"):
        require_targets(tmp_path / "link", ["privacy.html"])


@pytest.mark.parametrize("name", ["privacy.json", "privacy.html", "privacy.md"])
@pytest.mark.parametrize("content", ["{}", "[]", "notes", "", '{"format": 3}', "<!DOCTYPE html><title>Mine</title>"])
def test_a_file_that_is_no_report_is_never_replaced(run: Path, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match="no earlier report"):
        write_report(privacy_report(run), tmp_path)
    assert contents(tmp_path) == {name: content.encode()}


def test_a_name_that_leads_elsewhere_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "privacy.html").symlink_to(tmp_path / "missing")
    with pytest.raises(ConfigError, match="no earlier report"):
        write_report(privacy_report(run), tmp_path)


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    write_privacy_report(run)
    forms = [run / f"privacy.{form}" for form in ("json", "html", "md")]
    for form in forms:
        form.write_bytes(form.read_bytes() + b"\n")
    longer = [form.stat().st_size for form in forms]
    write_privacy_report(run)
    assert [form.stat().st_size + 1 for form in forms] == longer


def test_a_form_from_before_is_made_anew_so_that_all_in_a_folder_say_the_same(run: Path, tmp_path: Path) -> None:
    write_report(privacy_report(run), tmp_path)
    later = a_run(tmp_path / "later", rounds=((0,), (1,)))
    written = write_report(privacy_report(later), tmp_path, html=True, md=False)
    digest = hashlib.sha256((tmp_path / "privacy.json").read_bytes()).hexdigest()
    assert {path.name for path in written} == {"privacy.json", "privacy.html", "privacy.md"}
    assert digest in (tmp_path / "privacy.html").read_text()
    assert digest in (tmp_path / "privacy.md").read_text()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        require_targets(tmp_path / "file" / "deep", ["privacy.html"])
