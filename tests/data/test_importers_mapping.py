from pathlib import Path

import pytest

from fedrec.data.importers.mapping_file import SHIPPED, load_mapping, shipped_mapping
from fedrec.errors import ConfigError, DataError

from .importer_tables import MAPPING


def error_of(folder: Path, text: str) -> str:
    (folder / "m.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_mapping(folder / "m.toml")
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_every_shipped_mapping_is_valid_and_says_where_its_data_comes_from(name: str) -> None:
    mapping = shipped_mapping(name)
    assert mapping.source.startswith("https://")
    assert mapping.licence != "unknown"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("timestamp =", "timestmap =", "`timestamp` is missing. Did you mean it by `timestmap`?"),
        ('kind = "rate"', 'kind = "rate"\ntime_unt = "s"', "`time_unt` is unknown. Did you mean `time_unit`?"),
        ("[catalogue]", "licens = 1\n[catalogue]", "`licens` is unknown"),
        ('title = "title"', 'title = "title"\ntexts = "x"', "`texts` is unknown. Did you mean `text`?"),
        ('kind = "rate"', 'kind = "adore"', "`kind` is unknown. Choose from block, click"),
        ('kind = "rate"', "kind = 3", "`kind` must be a table"),
        ('kind = "rate"', 'kind = "rate"\ntime_unit = "h"', "`time_unit` must be one of s, ms, us, ns"),
        ('kind = "rate"', 'kind = "rate"\nencoding = "utf-9"', "`encoding` is not an encoding"),
        ('format = "csv"', 'format = "xls"', "`format` must be one of csv, tsv, jsonl, parquet"),
        ("[1, 5]", "[5, 1]", "`value_range` must be two numbers"),
        ("[[events]]", "[events]", "`events` must be tables, written `[[events]]`"),
        ("[catalogue]", "[catalog]", "`catalogue` is missing. Did you mean it by `catalog`?"),
        ("[catalogue]", "[events.kind]\n[catalogue]", "not a TOML file"),
        ('user = "who"', "user = 1", "`user` must be a string"),
        ('file = "events.csv"', "file = []", "`file` must name at least one file"),
        ('kind = "rate"', 'kind = "rate"\nseparator = ""', "`separator` must be something"),
        ('title = "title"', 'title = "title"\nlists = { title = ";" }', "`lists` may name only columns"),
        ('title = "title"', 'title = "title"\npublished_pattern = "(x"', "`published_pattern` is not a regular"),
        ('title = "title"', 'title = "title"\npublished_pattern = "x"', "`published_pattern` is not a regular"),
        ('kind = "rate"', '[events.kind]\ncolumn = "@label"', "needs `label`"),
    ],
)
def test_a_mistake_in_a_mapping_is_refused_by_name(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = MAPPING
    if new.startswith("[events.kind]\ncolumn"):
        text = text.replace('value = "stars"\nvalue_range = [1, 5]\n', "")
    message = error_of(tmp_path, text.replace(old, new, 1))
    assert "m.toml" in message
    assert words in message


def test_a_mapping_that_is_absent_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_mapping(tmp_path / "m.toml")
    (tmp_path / "m.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a TOML file"):
        load_mapping(tmp_path / "m.toml")


def test_patterns_may_not_leave_the_folder(tmp_path: Path) -> None:
    from .importer_tables import import_rows

    for pattern in ("../events.csv", "/etc/passwd"):
        with pytest.raises(ConfigError, match="leaves it"):
            import_rows(tmp_path, "x", mapping=MAPPING.replace("events.csv", pattern))
