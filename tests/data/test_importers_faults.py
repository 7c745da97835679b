import gzip
from pathlib import Path

import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.importers.mapping_file import load_mapping
from fedrec.data.importers.table import import_table
from fedrec.errors import DataError

from .importer_tables import HEAD, ITEMS, MAPPING, import_rows, lay_out

GOOD = "ann,a,100,4\n"


def refused(folder: Path, events: str | bytes, **files: str) -> str:
    """The message of the refusal, having checked that nothing is left and nothing private is said."""
    with pytest.raises(DataError) as caught:
        import_rows(folder, events, **files)
    message = str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == ["in"]
    assert "\n" not in message
    for secret in ("ann", "bob", "Secret"):
        assert secret not in message
    return message


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",a,100,4", "missing_user"),
        ("  ,a,100,4", "missing_user"),
        ("ann,,100,4", "missing_item"),
        ("ann,a,,4", "missing_time"),
        ("ann,a,-5,4", "time_out_of_range"),
        ("ann,a,99999999999,4", "time_out_of_range"),
        ("ann,a,1e300,4", "time_out_of_range"),
        ("ann,a,100,", "missing_value"),
        ("ann,a,100,NaN", "missing_value"),
        ("ann,a,100,inf", "value_out_of_range"),
        ("ann,a,100,-inf", "value_out_of_range"),
        ("ann,a,100,5.5", "value_out_of_range"),
        ("ann,a,100,1e39", "value_out_of_range"),
        ("ann,z,100,4", "unknown_item"),
        ("bob,b,200,3", "duplicate_event"),
    ],
)
def test_a_hole_in_the_data_is_left_out_and_counted(tmp_path: Path, row: str, reason: str) -> None:
    info = import_rows(tmp_path, HEAD + "bob,b,200,3\n" + row + "\n")
    assert info.events == 1
    assert info.repairs == {reason: 1, "item_without_title": 1}
    assert Dataset.open(tmp_path / "out").info.repairs == info.repairs


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("ann,a,soon,4", "time is not a number"),
        ("ann,a,100,good", "value is not a number"),
        ("ann,a,100", "has 3 fields where 4 are expected"),
        ("ann,a,100,4,5", "has 5 fields where 4 are expected"),
        ('"ann"x,a,100,4', "quote"),
        ('ann,"a,100,4', "quote is never closed"),
    ],
)
def test_a_row_that_is_not_what_the_mapping_says_is_an_error_with_its_line(tmp_path: Path, row: str, part: str) -> None:
    message = refused(tmp_path, HEAD + GOOD + "\n" + row + "\n")
    assert "events.csv, line 4" in message
    assert part in message


def test_the_line_is_right_below_a_field_of_several_lines(tmp_path: Path) -> None:
    events = "who,what,when,stars,note\n" + 'ann,a,100,4,"one\ntwo\r\nthree"\n' + 'bob,b,200,4,"one\ntwo"\nbob,b,x,4,\n'
    assert "events.csv, line 7" in refused(tmp_path, events)


def test_undecodable_bytes_are_an_error_with_their_line(tmp_path: Path) -> None:
    rows = HEAD + GOOD * 70_000
    for quoted in ("", '"ann",a,100,4\n'):
        message = refused(tmp_path, (rows + quoted).encode() + b"b\xffb,a,1,1\n" + b"ann,a,100,4\n")
        assert f"events.csv, line {70_002 + bool(quoted)} is not utf-8 text" in message


@pytest.mark.parametrize("events", ["", "\ufeff"])
def test_an_empty_file_is_an_error(tmp_path: Path, events: str) -> None:
    assert "is empty" in refused(tmp_path, events)


def test_a_file_with_a_header_only_is_an_error(tmp_path: Path) -> None:
    assert "no usable event" in refused(tmp_path, HEAD)


def test_events_that_all_have_the_wrong_time_unit_are_an_error_that_says_so(tmp_path: Path) -> None:
    assert "1 time_out_of_range" in refused(tmp_path, HEAD + "ann,a,1588687728923,4\n")


def test_a_column_of_holes_is_an_error_not_a_repair(tmp_path: Path) -> None:
    assert "no user id" in refused(tmp_path, HEAD + ",a,100,4\n,a,101,4\n")


@pytest.mark.parametrize("head", ["who,what,when\n", "who,what,when,stars,stars\n", "\n"])
def test_a_missing_or_doubled_column_is_an_error_at_line_1(tmp_path: Path, head: str) -> None:
    assert "events.csv, line 1" in refused(tmp_path, head + GOOD)


def test_a_header_of_data_is_not_shown(tmp_path: Path) -> None:
    refused(tmp_path, "ann,Secret,100,4\n" + GOOD)


def test_a_missing_file_and_a_missing_folder_are_errors(tmp_path: Path) -> None:
    inputs = lay_out(tmp_path, HEAD + GOOD)
    mapping = load_mapping(inputs / "mapping.toml")
    (inputs / "items.csv").unlink()
    with pytest.raises(DataError, match=r"holds no items\.csv"):
        import_table(inputs, mapping=mapping, out=tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        import_table(tmp_path / "nowhere", mapping=mapping, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_gz_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    mapping = MAPPING.replace("events.csv", "events.csv.gz")
    inputs = lay_out(tmp_path, HEAD, mapping=mapping)
    packed = gzip.compress((HEAD + GOOD * 1000).encode())
    for content in (packed[: len(packed) // 2], packed[:12], b"no gzip at all", packed[:-8] + b"\0" * 8):
        (inputs / "events.csv.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"events\.csv\.gz is (cut short|not a gzip)"):
            import_table(inputs, mapping=load_mapping(inputs / "mapping.toml"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_catalogue_rows_are_mended_and_counted(tmp_path: Path) -> None:
    info = import_rows(tmp_path, HEAD + GOOD, items=ITEMS + "a,Secret Again\n,Secret Nobody\n")
    assert info.repairs == {"duplicate_item": 1, "item_without_id": 1, "item_without_title": 1}
    assert Dataset.open(tmp_path / "out").catalogue()["title"].to_list() == ["Secret Garden", "Secret Agent", "c"]


def test_an_existing_dataset_is_never_overwritten(tmp_path: Path) -> None:
    first = import_rows(tmp_path, HEAD + GOOD)
    with pytest.raises(DataError, match="exists already"):
        import_rows(tmp_path, HEAD + GOOD)
    assert Dataset.open(tmp_path / "out").info == first


def test_an_unreadable_json_line_is_an_error_with_its_line(tmp_path: Path) -> None:
    mapping = MAPPING.replace('events.csv"\nformat = "csv"', 'events.csv"\nformat = "jsonl"')
    good = '{"who": "ann", "what": "a", "when": 100, "stars": 4.0}\n'
    for bad in ('{"who": "ann"\n', "[1]\n", '{"who": "ann", "when": NaN}\n', "Secret\n"):
        message = refused(tmp_path, good + "\n" + good + bad + good, mapping=mapping)
        assert "events.csv, line 4 is not a JSON object" in message
    late = good + "\n" + '{"who": "ann", "what": "a", "when": "Secret", "stars": 4.0}\n'
    assert "events.csv, line 3: the time is not a number" in refused(tmp_path, late, mapping=mapping)


def test_a_file_that_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    mapping = MAPPING.replace('events.csv"\nformat = "csv"', 'events.csv"\nformat = "parquet"')
    assert "not a parquet file" in refused(tmp_path, b"PAR1 Secret PAR1", mapping=mapping)
