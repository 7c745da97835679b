import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.service import logs
from fedrec.service.logs import open_log, rotate


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_who_and_what(tmp_path: Path) -> None:
    open_log(tmp_path / "it.log", part="rounds").info("a round ended", catalogue="films", round=3)
    (line,) = _lines(tmp_path / "it.log")
    assert line.pop("time")
    assert line == {"event": "a round ended", "level": "info", "part": "rounds", "catalogue": "films", "round": 3}


@given(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1).filter(lambda name: name not in logs._FIELDS))
def test_a_field_that_nobody_allowed_never_reaches_the_file(name: str) -> None:
    event = {"event": "a round ended", name: "a title, a user id or a key"}
    assert set(logs._only_known(None, "", event)) == {"event"}


@pytest.mark.parametrize("name", ["user", "user_id", "title", "item", "client", "node", "address", "key", "token"])
def test_nothing_of_a_person_or_a_device_has_a_field(name: str) -> None:
    assert name not in logs._FIELDS


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    open_log(tmp_path / "it.log", part="test").info("begins")
    assert (tmp_path / "it.log").stat().st_mode & 0o777 == 0o600


def test_old_lines_are_kept_in_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 2_000)
    log = open_log(tmp_path / "it.log", part="test")
    for number in range(500):
        log.info("a line", count=number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["it.log", *(f"it.log.{number}" for number in range(1, logs.KEPT + 1))]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2_000 * (logs.KEPT + 1)
    assert _lines(tmp_path / "it.log")[-1]["count"] == 499


def test_a_line_that_cannot_be_written_stops_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = open_log(tmp_path / "gone" / "it.log", part="test")
    log.info("begins")
    assert capfd.readouterr().err == ""


def test_the_files_of_programs_are_rotated_while_they_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 10)
    path = tmp_path / "it.log"
    with path.open("a") as written:
        for number in range(logs.KEPT + 3):
            written.write(f"part {number}, long enough\n")
            written.flush()
            rotate(path)
    kept = {other.name: other.read_text() for other in tmp_path.iterdir()}
    assert len(kept) == logs.KEPT + 1
    assert kept["it.log"] == ""
    assert kept["it.log.1"] == f"part {logs.KEPT + 2}, long enough\n"
