import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fedrec.data.dataset import Dataset, DatasetInfo
from fedrec.data.importers.mapping_file import load_mapping, shipped_mapping
from fedrec.data.importers.table import import_table
from fedrec.errors import DataError

from .importer_tables import HEAD, ITEMS, MAPPING, import_rows, lay_out

ROWS = [("ann", "b", 300, 4.0), ("ann", "a", 100, 5.0), ("bob", "a", 200, 1.5)]
TEXT = HEAD + "".join(f"{user},{item},{time},{stars}\n" for user, item, time, stars in ROWS)


def events_of(folder: Path) -> pl.DataFrame:
    return Dataset.open(folder / "out").events().collect()


def import_as(folder: Path, mapping: str, content: bytes) -> DatasetInfo:
    """Import the same table in another format, under a key that the formats share."""
    inputs = lay_out(folder, content, mapping=mapping)
    key = folder / "key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    return import_table(inputs, mapping=load_mapping(inputs / "mapping.toml"), out=folder / "out", user_key=key)


def packed(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def as_format(name: str) -> str:
    return MAPPING.replace('events.csv"\nformat = "csv"', f'events.csv"\nformat = "{name}"')


def test_every_format_gives_the_same_dataset(tmp_path: Path) -> None:

    frame = pl.DataFrame(ROWS, schema=["who", "what", "when", "stars"], orient="row")
    dated = frame.with_columns(pl.from_epoch("when").dt.replace_time_zone("UTC"))
    other = frame.with_columns(x=pl.lit(1)).write_ndjson().replace("\n", "\n\n")
    contents = {
        "csv": ("csv", TEXT.encode()),
        "quoted": ("csv", TEXT.replace("ann,", '"ann",').encode()),
        "gz": ("csv", gzip.compress(TEXT.encode())),
        "tsv": ("tsv", TEXT.replace(",", "\t").encode()),
        "jsonl": ("jsonl", frame.write_ndjson().encode()),
        "jsonl with other fields": ("jsonl", other.encode()),
        "parquet": ("parquet", packed(frame)),
        "parquet with times": ("parquet", packed(dated)),
        "utf-16": ("csv", TEXT.encode("utf-16")),
    }
    hashes = {}
    for name, (form, content) in contents.items():
        folder = tmp_path / name
        folder.mkdir()
        encoding = "utf-16" if name == "utf-16" else "utf-8"
        mapping = as_format(form).replace('when"', f'when"\nencoding = "{encoding}"', 1)
        hashes[name] = import_as(folder, mapping, content).hash
    assert len(set(hashes.values())) == 1, hashes


def test_events_are_sorted_by_user_and_time_whatever_the_file_order(tmp_path: Path) -> None:
    import_rows(tmp_path, TEXT)
    events = events_of(tmp_path)
    assert events.equals(events.sort("user_id", "timestamp"))
    assert events["timestamp"].sort().to_list() == [100, 200, 300]


@pytest.mark.parametrize(
    ("setting", "cell", "seconds"),
    [
        ('time_unit = "ms"', "1588687728923", 1588687728),
        ('time_unit = "us"', "1588687728923000", 1588687728),
        ('time_unit = "ns"', "1588687728923000000", 1588687728),
        ("", "1588687728.923", 1588687728),
        ("", "1.588687728e9", 1588687728),
        ('time_format = "%Y-%m-%d"', "2019-11-15", 1573776000),
        ('time_format = "%Y-%m-%dT%H:%M:%S%.f%z"', "2019-11-15T02:00:00.5+0200", 1573776000),
        ('time_format = "%m/%d/%Y %I:%M:%S %p"', "11/5/2019 8:36:57 PM", 1572986217),
    ],
)
def test_times_are_read_in_the_unit_or_form_of_the_mapping(
    tmp_path: Path, setting: str, cell: str, seconds: int
) -> None:
    import_rows(
        tmp_path, HEAD + f"ann,a,{cell},4\n", mapping=MAPPING.replace('kind = "rate"', f'kind = "rate"\n{setting}')
    )
    assert events_of(tmp_path)["timestamp"].to_list() == [seconds]


def test_a_time_of_another_form_is_an_error_with_its_line(tmp_path: Path) -> None:
    mapping = MAPPING.replace('kind = "rate"', 'kind = "rate"\ntime_format = "%Y-%m-%d"')
    with pytest.raises(DataError, match=r"line 3: the time"):
        import_rows(tmp_path, HEAD + "ann,a,2019-11-15,4\nann,a,15.11.2019,4\n", mapping=mapping)


RATINGS = 'kind = "rate"\nvalue = "stars"\nvalue_range = [1, 5]'


def test_kinds_are_translated_left_out_or_refused(tmp_path: Path) -> None:
    values = '\nvalues = { ann = "like", bob = "ignore", eve = "search" }\n'
    mapping = MAPPING.replace(RATINGS, 'text = "stars"\n[events.kind]\ncolumn = "who"' + values)
    rows = "ann,a,1,\nbob,a,2,\neve,,3,gardens\neve,,4,\n"
    info = import_rows(tmp_path, HEAD + rows, mapping=mapping)
    assert info.repairs == {"kind_left_out": 1, "missing_text": 1, "item_without_title": 1}
    events = events_of(tmp_path).sort("timestamp")
    assert events["kind"].to_list() == ["like", "search"]
    assert events["item_id"].to_list() == ["a", None]
    with pytest.raises(DataError, match=r"line 6: the mapping's `kind`"):
        import_rows(tmp_path / "in", HEAD + rows + "max,a,5,\n", mapping=mapping)
    import_rows(
        tmp_path / "in", HEAD + rows + "max,a,5,\n", mapping=mapping.replace(values, values + 'other = "view"\n')
    )
    assert "view" in events_of(tmp_path / "in")["kind"].to_list()


def test_cells_that_the_mapping_calls_missing_are_missing(tmp_path: Path) -> None:
    mapping = MAPPING.replace('user = "who"', 'missing = ["NA", "\\\\N"]\nuser = "who"')
    info = import_rows(tmp_path, HEAD + "NA,a,1,4\nann,\\N,1,4\nann,a,NA,4\nann,a,1,NA\nann,a,1,4\n", mapping=mapping)
    reasons = ("missing_user", "missing_item", "missing_time", "missing_value", "item_without_title")
    assert info.repairs == dict.fromkeys(reasons, 1)


def test_a_file_of_events_can_be_named_itself(tmp_path: Path) -> None:
    inputs = lay_out(tmp_path, TEXT)
    (inputs / "events.csv").rename(inputs / "odd [1]*.csv")
    info = import_table(inputs / "odd [1]*.csv", mapping=load_mapping(inputs / "mapping.toml"), out=tmp_path / "out")
    assert info.events == 3


def test_amazon_reviews_are_imported_from_packed_json_lines(tmp_path: Path) -> None:
    review = {
        "rating": 5.0,
        "title": "Lovely",
        "text": 'Smells <br /> "good"',
        "images": [{"x": 1}],
        "asin": "B0",
        "parent_asin": "B00",
        "user_id": "AGK",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    meta = {
        "main_category": "All Beauty",
        "title": "Hair Spray",
        "average_rating": 4.8,
        "rating_number": 10,
        "features": [],
        "description": ["Strong.", " ", "Light."],
        "price": None,
        "store": "x",
        "categories": ["Beauty", "Hair"],
        "details": {"a": "b", "Date First Available": "October 5, 2018"},
        "parent_asin": "B00",
        "bought_together": None,
    }
    nothing = {"description": [], "categories": [], "rating_number": None, "store": None, "details": {}}
    bare = {**meta, "parent_asin": "B01", **nothing}
    (tmp_path / "All_Beauty.jsonl.gz").write_bytes(gzip.compress((json.dumps(review) + "\n").encode() * 2))
    (tmp_path / "meta_All_Beauty.jsonl").write_text(json.dumps(meta) + "\n" + json.dumps(bare) + "\n")
    info = import_table(tmp_path, mapping=shipped_mapping("amazon"), out=tmp_path / "out")
    assert info.repairs == {"duplicate_event": 1}
    event = events_of(tmp_path).row(0, named=True)
    assert (event["kind"], event["value"], event["timestamp"]) == ("rate", 5.0, 1588687728)
    assert event["text"] == 'Lovely. Smells <br /> "good"'
    first, second = Dataset.open(tmp_path / "out").catalogue().rows()
    assert first == ("B00", "Hair Spray", "Hair Spray. Beauty, Hair. Strong., Light.", "Beauty", 10.0, "x", 1538697600)
    assert second == ("B01", "Hair Spray", "Hair Spray", None, None, None, None)


def test_mind_clicks_come_from_impressions_and_from_the_history_before_them(tmp_path: Path) -> None:
    news = "".join(f'N{n}\tnews\tworld\tA "title {n}\tAn abstract\thttp://x\t[]\t[]\n' for n in range(1, 6))
    (tmp_path / "news.tsv").write_text(news)
    (tmp_path / "behaviors.tsv").write_text(
        "2\tU1\t11/15/2019 10:22:32 AM\tN1 N2\tN3-0 N4-0 N5-1\n"
        "1\tU1\t11/15/2019 8:22:32 AM\tN1 N2\tN3-1 N4-0\n"
        "3\tU2\t11/15/2019 9:00:00 PM\t\tN1-1 N9-1\n"
    )
    info = import_table(tmp_path, mapping=shipped_mapping("mind"), out=tmp_path / "out")
    assert info.repairs == {"kind_left_out": 3, "unknown_item": 1}
    events = events_of(tmp_path)
    busy = events.group_by("user_id").agg("item_id", "timestamp").filter(pl.col("item_id").list.len() == 4).row(0)
    first = int(datetime(2019, 11, 15, 8, 22, 32, tzinfo=UTC).timestamp())
    assert busy[1] == ["N1", "N2", "N3", "N5"]
    assert busy[2] == [first - 2, first - 1, first, first + 7200]
    assert set(events["kind"]) == {"click"}
    assert Dataset.open(tmp_path / "out").catalogue()["text"][0] == 'A "title 1. news. world. An abstract'


def test_an_item_of_a_list_without_its_label_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "news.tsv").write_text("N1\tnews\tworld\ttitle\tabstract\thttp://x\t[]\t[]\n")
    (tmp_path / "behaviors.tsv").write_text(
        "1\tU1\t11/15/2019 8:22:32 AM\tN1\tN1-1\n" * 2 + "2\tU1\t11/15/2019 8:22:32 AM\t\tN1\n"
    )
    with pytest.raises(DataError, match=r"behaviors\.tsv, line 3: an item of the list lacks its label"):
        import_table(tmp_path, mapping=shipped_mapping("mind"), out=tmp_path / "out")


def test_a_parquet_column_of_another_kind_than_the_mapping_needs_is_an_error(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=["who", "what", "when", "stars"], orient="row")
    for odd, words in (
        (frame.with_columns(stars=pl.lit(datetime(2020, 1, 1))), "Check what its columns hold"),
        (frame.with_columns(stars=pl.lit(b"x")), "no text, number or time"),
        (frame.with_columns(stars=pl.concat_list("stars")), "`stars` is a list"),
        (frame.with_columns(when=pl.lit("x")), "row 1: the time"),
    ):
        with pytest.raises(DataError, match=words):
            import_rows(tmp_path, packed(odd), mapping=as_format("parquet"))


def test_lists_of_parquet_hold_many_items(tmp_path: Path) -> None:
    mapping = as_format("parquet").replace(RATINGS, 'kind = "click"\n[events.list]')
    frame = pl.DataFrame({"who": [1, 2], "what": [["a", "b"], []], "when": [5, 6]})
    inputs = lay_out(tmp_path, b"", mapping=mapping, items=ITEMS)
    frame.write_parquet(inputs / "events.csv")
    import_table(inputs, mapping=load_mapping(inputs / "mapping.toml"), out=tmp_path / "out")
    assert events_of(tmp_path)["item_id"].to_list() == ["a", "b"]


DATED = """provider = "maker"
published = "since"
time_format = "%Y-%m-%d"
"""


def test_items_may_have_a_provider_and_a_time(tmp_path: Path) -> None:
    items = "id,title,maker,since\na,One,Acme,1969-12-31\nb,Two,,\n"
    import_rows(tmp_path, HEAD + "u,a,1,3\n", items=items, mapping=MAPPING + DATED)
    catalogue = Dataset.open(tmp_path / "out").catalogue()
    assert catalogue["provider"].to_list() == ["Acme", None]
    assert catalogue["published"].to_list() == [-86_400, None]


def test_a_time_of_an_item_in_another_form_is_an_error_with_its_line(tmp_path: Path) -> None:
    items = "id,title,maker,since\na,One,Acme,2001-01-01\nb,Two,,last week\n"
    with pytest.raises(DataError, match=r"items\.csv, line 3: the time of publication"):
        import_rows(tmp_path, HEAD + "u,a,1,3\n", items=items, mapping=MAPPING + DATED)


def test_a_pattern_finds_the_time_within_a_cell_and_is_never_an_error(tmp_path: Path) -> None:
    items = "id,title\na,A Film (1970)\nb,No Film\nc,Another (197)\nd,Far (9999)\n"
    year = 'published = "title"\npublished_pattern = \'\\((\\d+)\\)$\'\ntime_unit = "year"\n'
    import_rows(tmp_path, HEAD + "u,a,1,3\n", items=items, mapping=MAPPING + year)
    published = Dataset.open(tmp_path / "out").catalogue()["published"].to_list()
    assert published[:2] == [0, None]
