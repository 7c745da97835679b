import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.dataset import CATALOGUE_SCHEMA, EVENT_SCHEMA, Dataset, DatasetInfo, DatasetWriter
from fedrec.errors import DataError
from tests.public_catalogues import catalogue_alone

CATALOGUE = pl.DataFrame({"item_id": ["a", "b"], "title": ["One", "Two"], "text": ["One", "Two"]})
EVENTS = pl.DataFrame(
    {
        "user_id": ["u2", "u1", "u2", "u1"],
        "item_id": ["a", "b", "b", "a"],
        "timestamp": [30, 20, 10, 20],
        "kind": ["view", "rate", "view", "view"],
        "value": [None, 4.0, None, None],
    }
)


def write(out: Path, *batches: pl.DataFrame, catalogue: pl.DataFrame = CATALOGUE) -> DatasetInfo:
    with DatasetWriter(out) as writer:
        writer.set_catalogue(catalogue)
        for batch in batches:
            writer.add_events(batch)
        return writer.commit(source="a test", licence="CC0-1.0", importer="test 1", repairs={"missing_user": 2})


def test_a_dataset_comes_back_as_it_was_written_sorted_by_user_and_time(tmp_path: Path) -> None:
    info = write(tmp_path / "data", EVENTS.head(2), EVENTS.tail(2))
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.info == info
    assert (info.users, info.items, info.events, info.repairs) == (2, 2, 4, {"missing_user": 2})
    events = dataset.events().collect()
    assert events.select("user_id", "timestamp", "item_id").rows() == [
        ("u1", 20, "b"),
        ("u1", 20, "a"),
        ("u2", 10, "b"),
        ("u2", 30, "a"),
    ]
    assert dataset.user_ids() == ["u1", "u2"]
    assert dataset.user_events(["u2"]).equals(events.filter(pl.col("user_id") == "u2"))
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "catalogue.parquet",
        "dataset.json",
        "events.parquet",
    ]


def test_both_tables_have_their_schema_whatever_columns_were_given(tmp_path: Path) -> None:
    write(tmp_path / "data", EVENTS.with_columns(pl.col("timestamp").cast(pl.Int32), other=pl.lit(1)))
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.events().collect_schema() == EVENT_SCHEMA
    assert dataset.catalogue().schema == CATALOGUE_SCHEMA


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    out = tmp_path / "odd [1]*?" / "date [2]"
    write(out, EVENTS)
    assert len(Dataset.open(out).events().collect()) == 4
    assert len(Dataset.open(out).catalogue()) == 2


def test_vectors_of_other_modalities_are_kept_in_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path / "data", EVENTS, catalogue=CATALOGUE.with_columns(vector_image=pl.Series([[1.0], [2.0]])))
    assert Dataset.open(tmp_path / "data").catalogue()["vector_image"].to_list() == [[1.0], [2.0]]


def test_a_column_that_cannot_be_converted_is_an_error_without_its_cells(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data") as writer, pytest.raises(DataError, match="timestamp") as caught:
        writer.add_events(EVENTS.with_columns(timestamp=pl.lit("Secret")))
    assert "Secret" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text(max_size=4), st.none() | st.text(max_size=4), st.integers(0, 2**40), st.none() | st.text()),
        min_size=1,
        max_size=12,
    )
)
def test_any_events_survive_and_are_sorted(rows: list[tuple[str, str | None, int, str | None]]) -> None:
    events = pl.DataFrame(
        rows, schema=["user_id", "item_id", "timestamp", "text"], orient="row", infer_schema_length=None
    )
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "data", events.with_columns(kind=pl.lit("view")))
        back = Dataset.open(Path(folder) / "data").events().collect()
    assert back.select(events.columns).rows() == sorted(rows, key=lambda row: (row[0].encode(), row[2]))


def test_sorted_input_is_written_in_the_order_of_its_batches(tmp_path: Path) -> None:
    ordered = EVENTS.sort("user_id", "timestamp", maintain_order=True)
    with DatasetWriter(tmp_path / "data", sorted_input=True) as writer:
        writer.set_catalogue(CATALOGUE)
        for row in range(len(ordered)):
            writer.add_events(ordered[row])
        writer.commit(source="", licence="", importer="")
    assert Dataset.open(tmp_path / "data").events().select(ordered.columns).collect().rows() == ordered.rows()


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    first = write(tmp_path / "a", EVENTS)
    assert write(tmp_path / "b", EVENTS).hash == first.hash
    assert write(tmp_path / "c", EVENTS.head(3)).hash != first.hash


def test_leaving_without_commit_leaves_nothing(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data") as writer:
        writer.add_events(EVENTS)
    with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path / "data") as writer:
        writer.set_catalogue(CATALOGUE)
        writer.add_events(EVENTS)
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_writer_that_is_killed_before_commit_leaves_nothing_visible(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, polars as pl
from fedrec.data.dataset import DatasetWriter
with DatasetWriter(pathlib.Path({str(tmp_path / "data")!r})) as writer:
    writer.set_catalogue(pl.DataFrame({{"item_id": ["a"]}}))
    writer.add_events(pl.DataFrame({{"user_id": ["u"], "item_id": ["a"], "timestamp": [1], "kind": ["view"]}}))
    os.kill(os.getpid(), {signal.SIGKILL.value})
"""
    ended = subprocess.run([sys.executable, "-c", program], env={**os.environ}, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    with pytest.raises(DataError, match="not a dataset folder"):
        Dataset.open(tmp_path / "data")
    assert write(tmp_path / "data", EVENTS).events == 4


def test_a_folder_in_use_is_refused_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", EVENTS)
    for taken in (tmp_path / "data", tmp_path / "data" / "dataset.json"):
        with pytest.raises(DataError, match="exists already"):
            DatasetWriter(taken)
    with pytest.raises(DataError, match="cannot be written"):
        DatasetWriter(tmp_path / "data" / "dataset.json" / "below")


@pytest.mark.parametrize(
    ("catalogue", "events", "words"),
    [
        (CATALOGUE, None, "No usable event"),
        (None, EVENTS, "no catalogue"),
        (pl.concat([CATALOGUE, CATALOGUE]), EVENTS, "an item twice"),
    ],
)
def test_an_incomplete_dataset_is_not_committed(
    tmp_path: Path, catalogue: pl.DataFrame | None, events: pl.DataFrame | None, words: str
) -> None:
    with pytest.raises(DataError, match=words), DatasetWriter(tmp_path / "data") as writer:
        if catalogue is not None:
            writer.set_catalogue(catalogue)
        if events is not None:
            writer.add_events(events)
        writer.commit(source="", licence="", importer="")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["dataset.json", "events.parquet", "catalogue.parquet", "not json", "other json"])
def test_a_damaged_folder_is_refused_on_opening(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "data", EVENTS)
    note = tmp_path / "data" / "dataset.json"
    if damage == "not json":
        note.write_text("{")
    elif damage == "other json":
        note.write_text(json.dumps({"name": "x"}))
    else:
        (tmp_path / "data" / damage).unlink()
    with pytest.raises(DataError):
        Dataset.open(tmp_path / "data")


def test_a_catalogue_alone_opens_and_has_no_events_to_give(tmp_path: Path) -> None:
    public = catalogue_alone(write_and_open(tmp_path / "data"), tmp_path / "public")
    public.verify()
    assert public.catalogue()["item_id"].to_list() == CATALOGUE["item_id"].to_list()
    with pytest.raises(DataError, match="no events"):
        public.events()


def test_a_catalogue_alone_that_was_exchanged_is_told(tmp_path: Path) -> None:
    public = catalogue_alone(write_and_open(tmp_path / "data"), tmp_path / "public")
    CATALOGUE.head(1).write_parquet(tmp_path / "public" / "catalogue.parquet")
    with pytest.raises(DataError, match="not those that"):
        public.verify()


def write_and_open(path: Path) -> Dataset:
    write(path, EVENTS)
    return Dataset.open(path)
