"""A small table with its mapping, that the importer's tests bend."""

from pathlib import Path

from fedrec.data.dataset import DatasetInfo
from fedrec.data.importers.mapping_file import load_mapping
from fedrec.data.importers.table import import_table

MAPPING = """
[[events]]
file = "events.csv"
format = "csv"
user = "who"
item = "what"
timestamp = "when"
kind = "rate"
value = "stars"
value_range = [1, 5]

[catalogue]
file = "items.csv"
format = "csv"
id = "id"
title = "title"
"""
ITEMS = "id,title\na,Secret Garden\nb,Secret Agent\nc,\n"
HEAD = "who,what,when,stars\n"


def lay_out(folder: Path, events: str | bytes, *, items: str | bytes = ITEMS, mapping: str = MAPPING) -> Path:
    """The files of a small table in a folder of their own."""
    inputs = folder / "in"
    inputs.mkdir(exist_ok=True)
    for name, content in (("events.csv", events), ("items.csv", items), ("mapping.toml", mapping)):
        (inputs / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return inputs


def import_rows(folder: Path, events: str | bytes, **files: str) -> DatasetInfo:
    """Import a small table into `folder/out`."""
    inputs = lay_out(folder, events, **files)
    return import_table(inputs, mapping=load_mapping(inputs / "mapping.toml"), out=folder / "out")
