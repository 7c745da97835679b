"""Reads a mapping from TOML; an unknown key fails and names the nearest one."""

import codecs
import tomllib
from pathlib import Path
from typing import get_args

import polars as pl

from fedrec.data.events import Kind
from fedrec.data.importers.mapping import (
    IGNORE,
    LABEL,
    CatalogueTable,
    EventTable,
    Format,
    KindRule,
    Layout,
    ListRule,
    TableMapping,
    TimeUnit,
)
from fedrec.data.importers.settings import Settings
from fedrec.errors import ConfigError, DataError

SHIPPED = Path(__file__).parent.parent / "mappings"


def shipped_mapping(name: str) -> TableMapping:
    """The mapping that comes with fedrec under this name."""
    return load_mapping(SHIPPED / f"{name}.toml")


def load_mapping(path: Path) -> TableMapping:
    """Read a mapping file; raises ConfigError naming the key at fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give a mapping file, or see docs/data.md.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file ({error}).") from None
    settings = Settings(raw, str(path))
    mapping = TableMapping(
        name=settings.text("name", default=path.stem),
        source=settings.text("source", default=""),
        licence=settings.text("licence", default="unknown"),
        events=tuple(_event_table(table) for table in settings.tables("events")),
        catalogue=_catalogue_table(settings.table("catalogue")),
    )
    settings.finish()
    return mapping


def _layout(settings: Settings) -> Layout:
    kind: Format = settings.choice("format", get_args(Format))
    header = settings.texts("header")
    encoding = settings.texts("encoding") or ("utf-8",)
    for name in encoding:
        _check_encoding(name, settings)
    files = settings.texts("file", required=True)
    if not files or not all(files):
        raise settings.error("file", "must name at least one file")
    separator = settings.text("separator", default="\t" if kind == "tsv" else ",")
    if not separator or set(separator) & set('"\r\n'):
        raise settings.error("separator", "must be something other than a quote or a line end")
    return Layout(
        file=files,
        format=kind,
        exclude=settings.texts("exclude"),
        header=header or None,
        separator=separator,
        quotes=settings.flag("quotes", default=True),
        encoding=encoding,
        missing=settings.texts("missing"),
        optional=settings.flag("optional", default=False),
    )


def _event_table(settings: Settings) -> EventTable:
    table = EventTable(
        layout=_layout(settings),
        user=settings.text("user"),
        item=settings.text("item", default="") or None,
        timestamp=settings.text("timestamp"),
        time=_time(settings),
        kind=_kind(settings),
        value=settings.text("value", default="") or None,
        value_range=settings.interval("value_range"),
        texts={key: settings.texts(key) for key in ("text", "context")},
        many=_many(settings.table("list")) if settings.has("list") else None,
    )
    if table.item is None and table.many:
        raise settings.error("list", "needs `item`, the column that holds the list")
    if table.kind.column == LABEL and not (table.many and table.many.label):
        raise settings.error("kind", f"uses `{LABEL}`, which needs `label` in `[events.list]`")
    settings.finish()
    return table


def _time(settings: Settings) -> TimeUnit | str:
    form = settings.text("time_format", default="")
    unit: TimeUnit = settings.choice("time_unit", get_args(TimeUnit), default="s")
    if not form:
        return unit
    try:
        pl.Series(["x"]).str.to_datetime(form, strict=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise settings.error("time_format", "is not a time format such as `%Y-%m-%d %H:%M:%S`") from None
    return form


def _pattern(settings: Settings) -> str | None:
    pattern = settings.text("published_pattern", default="") or None
    try:
        groups = len(pl.Series(["x"]).str.extract_groups(pattern).struct.fields) if pattern else 1
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        groups = 0
    if groups != 1:
        raise settings.error("published_pattern", "is not a regular expression with one group")
    return pattern


def _kind(settings: Settings) -> KindRule:
    if settings.is_text("kind"):
        return KindRule(constant=_known_kind(settings.text("kind"), settings))
    inner = settings.table("kind")
    rule = KindRule(
        column=inner.text("column"),
        values={label: _known_kind(kind, inner) for label, kind in inner.words("values").items()},
        other=_known_kind(inner.text("other", default=""), inner) or None,
    )
    inner.finish()
    return rule


def _known_kind(kind: str, settings: Settings) -> str:
    known = {*Kind.__members__.values(), IGNORE, ""}
    if kind not in known:
        raise settings.error("kind", f"is unknown. Choose from {', '.join(sorted(known - {''}))}")
    return str(kind)


def _many(settings: Settings) -> ListRule:
    rule = ListRule(
        separator=settings.text("separator", default="") or None,
        label=settings.text("label", default="") or None,
        history=settings.flag("history", default=False),
    )
    settings.finish()
    return rule


def _catalogue_table(settings: Settings) -> CatalogueTable:
    table = CatalogueTable(
        layout=_layout(settings),
        id=settings.text("id"),
        title=settings.text("title"),
        text=settings.texts("text"),
        category=settings.text("category", default="") or None,
        popularity=settings.text("popularity", default="") or None,
        provider=settings.text("provider", default="") or None,
        published=settings.text("published", default="") or None,
        published_pattern=_pattern(settings),
        time=_time(settings),
        lists=settings.words("lists"),
        flags=settings.words("flags"),
    )
    settings.finish()
    for name in table.lists:
        single = (table.id, table.title, table.popularity, table.provider, table.published)
        if name not in (*table.text, table.category) or name in single:
            raise settings.error("lists", "may name only columns of `text` and `category`")
    return table


def _check_encoding(name: str, settings: Settings) -> None:
    try:
        "".encode(codecs.lookup(name).name)
    except LookupError:
        raise settings.error("encoding", "is not an encoding that Python knows, such as `utf-8`") from None
