import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedrec.data.dataset import Dataset
from fedrec.data.importers.mapping_file import load_mapping
from fedrec.data.importers.table import import_table
from fedrec.errors import FedrecError

from .importer_tables import HEAD, ITEMS, MAPPING, import_rows, lay_out

FORMATS = ("csv", "tsv", "jsonl", "parquet")
FEW = settings(max_examples=40, deadline=None)
# Bytes that look enough like a table to get past the first checks, mixed with any others.
PIECES = st.sampled_from(
    [
        HEAD.encode(),
        b"ann,a,100,4\n",
        b'"',
        b",",
        b"\n",
        b"\r\n",
        b'{"who": "ann"}\n',
        b"\xef\xbb\xbf",
        b"\x1f\x8b",
        b"PAR1",
    ]
)
BYTES = st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join)


@FEW
@example(content=b"\n\x1f\x8bx", form="jsonl", catalogue=False)
@given(content=BYTES, form=st.sampled_from(FORMATS), catalogue=st.booleans())
def test_any_bytes_are_imported_or_refused_without_a_trace(content: bytes, form: str, catalogue: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mapping = MAPPING.replace('format = "csv"', f'format = "{form}"', 2 if catalogue else 1)
        files = {"items": content} if catalogue else {}
        events = "who,what,when,stars\nann,a,1,4\n" if catalogue else content
        inputs = lay_out(folder, events, mapping=mapping, **files)
        try:
            import_table(inputs, mapping=load_mapping(inputs / "mapping.toml"), out=folder / "out")
        except FedrecError as error:
            assert "\n" not in str(error)
            assert sorted(path.name for path in folder.iterdir()) == ["in"]
        else:
            Dataset.open(folder / "out")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
NOTES = st.text(st.characters(codec="utf-8", exclude_characters="\0\x1f"), max_size=12).map(str.strip)
EVENTS = st.lists(
    st.tuples(WORDS, st.sampled_from("abc"), st.integers(0, 4_000_000_000), st.sampled_from([1.0, 2.5, 5.0]), NOTES),
    min_size=1,
    max_size=20,
)


@FEW
@given(rows=EVENTS)
def test_any_table_of_events_comes_back_as_it_was_written(rows: list[tuple[str, str, int, float, str]]) -> None:
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(["who", "what", "when", "stars", "note"])
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as name:
        mapping = MAPPING.replace('value = "stars"', 'value = "stars"\ntext = "note"')
        info = import_rows(Path(name), sheet.getvalue(), mapping=mapping, items=ITEMS)
        events = Dataset.open(Path(name) / "out").events().collect()
        back = events.select("item_id", "timestamp", "value", "text").rows()
    kept = {(user, item, time, stars, note or None) for user, item, time, stars, note in rows}
    assert sorted(map(repr, back)) == sorted(repr(row[1:]) for row in kept)
    assert info.users == len({row[0] for row in kept})
    assert info.repairs.get("duplicate_event", 0) == len(rows) - len(kept)
    assert events.equals(events.sort("user_id", "timestamp", maintain_order=True))


@pytest.mark.parametrize("broken", range(1, 6))
@pytest.mark.parametrize("quoted", [True, False])
def test_the_line_of_a_fault_is_right_wherever_it_stands(tmp_path: Path, broken: int, quoted: bool) -> None:
    rows = [f"ann,a,{'x' if row == broken else row},4" for row in range(1, 6)]
    lines = [HEAD.strip(), *(row.replace("ann", '"a\nb"') if quoted else row for row in rows)]
    line = 2 * broken if quoted else broken + 1
    with pytest.raises(FedrecError, match=rf"events\.csv, line {line}:"):
        import_rows(tmp_path, "\n".join(lines))
