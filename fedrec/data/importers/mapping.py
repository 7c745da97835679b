"""How a table's columns become events and a catalogue: the mapping file as frozen objects.

docs/data.md is the reference of its keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Format = Literal["csv", "tsv", "jsonl", "parquet"]
TimeUnit = Literal["s", "ms", "us", "ns", "year"]

IGNORE = "ignore"
LABEL = "@label"
FLAGS = "@flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the bytes of a table are read.

    file, exclude: glob patterns within the folder. header: column names of a file without
    them. separator, quotes: of csv and tsv. encoding: the first that decodes the file is
    taken. missing: cells that stand for "nothing here". optional: the file may be absent.
    """

    file: tuple[str, ...]
    format: Format
    exclude: tuple[str, ...] = ()
    header: tuple[str, ...] | None = None
    separator: str = ","
    quotes: bool = True
    encoding: tuple[str, ...] = ("utf-8",)
    missing: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """Which kind an event has: `constant`, or what `values` makes of a column's label.

    other: what a label that `values` lacks becomes; None: it is an error.
    A kind of `ignore` leaves the event out.
    """

    constant: str | None = None
    column: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    other: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRule:
    """The item column holds many items.

    separator: between items (None: the format has lists of its own). label: between an
    item and its label, as in `N1-1`. history: the list is what the user did before the
    row's time, oldest first; only a user's earliest row is read.
    """

    separator: str | None = None
    label: str | None = None
    history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTable:
    """One pass over one kind of file that yields events."""

    layout: Layout
    user: str
    item: str | None
    timestamp: str
    time: TimeUnit | str
    kind: KindRule
    value: str | None
    value_range: tuple[float, float] | None
    texts: Mapping[str, tuple[str, ...]]
    many: ListRule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueTable:
    """The public table of items.

    text: columns that follow the title in an item's text. lists: columns that hold lists,
    with their separator ("" where the format has lists of its own). flags: columns of 0
    and 1, with the word that a 1 stands for; together they are the list column `@flags`.
    published: a column with the item's time; published_pattern: what of its cells is the time.
    """

    layout: Layout
    id: str
    title: str
    text: tuple[str, ...]
    category: str | None
    popularity: str | None
    provider: str | None
    published: str | None
    published_pattern: str | None
    time: TimeUnit | str
    lists: Mapping[str, str]
    flags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """A whole mapping file."""

    name: str
    source: str
    licence: str
    events: tuple[EventTable, ...]
    catalogue: CatalogueTable


def event_columns(table: EventTable) -> dict[str, bool]:
    """The columns that a pass over events reads, and whether each is a list of the format's own."""
    names = [table.user, table.item, table.timestamp, table.kind.column, table.value]
    names += [name for texts in table.texts.values() for name in texts]
    native = table.many is not None and table.many.separator is None
    return {name: native and name == table.item for name in names if name and name != LABEL}


def catalogue_columns(table: CatalogueTable) -> dict[str, bool]:
    """The columns that the pass over the catalogue reads; True where it is a list of the format's own."""
    names = [table.id, table.title, *table.text, table.category, table.popularity, *table.flags]
    names += [table.provider, table.published]
    return {name: table.lists.get(name) == "" for name in names if name and name != FLAGS}
