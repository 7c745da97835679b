"""A report as sections of plain blocks, from which its page and its Markdown are made alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedrec.reporting.charts import Chart


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names with their values; what has no value is left out by whoever makes it."""

    rows: Sequence[tuple[str, str]]
    kind: str = "pairs"


@dataclass(frozen=True, slots=True)
class Bullets:
    """Lines of equal rank under a heading."""

    heading: str
    lines: Sequence[str]
    kind: str = "bullets"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `wide` columns hold sentences, `folded` tables open on demand."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = False
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Code:
    """Text for a machine, word for word."""

    heading: str
    text: str
    folded: bool = False
    kind: str = "code"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, with its data as a table."""

    chart: Chart
    kind: str = "figure"


Block = Text | Pairs | Bullets | Table | Code | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it; `key` names it in links."""

    key: str
    title: str
    blocks: Sequence[Block]
