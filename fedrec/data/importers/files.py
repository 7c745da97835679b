"""From what a person points at to plain UTF-8 files: found by pattern, unpacked, re-encoded."""

import codecs
import gzip
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedrec.data.importers.mapping import Layout
from fedrec.errors import ConfigError, DataError

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFile:
    """An input file and where its plain UTF-8 bytes lie (often the same place).

    named: the path that messages show. plain: the path that is read.
    """

    named: Path
    plain: Path


def find_files(folder: Path, layout: Layout) -> list[Path]:
    """The files that a layout's patterns select, in order of name.

    Raises DataError if there is none and the layout is not optional.
    """
    found: set[Path] = set()
    for pattern in layout.file:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ConfigError(f"`file` must lie within the folder, but `{pattern}` leaves it.")
        found |= {path for path in folder.glob(pattern) if path.is_file()}
    kept = sorted(path for path in found if not any(path.match(pattern) for pattern in layout.exclude))
    if not kept and not layout.optional:
        raise DataError(f"{folder} holds no {' or '.join(layout.file)}. Check the path and the mapping's `file`.")
    return kept


def plain_file(path: Path, layout: Layout, scratch: Path) -> PlainFile:
    """Unpack and re-encode a file where needed; a copy is written into `scratch`.

    Raises DataError if the file is absent, empty, cut short, or not in the encoding.
    """
    try:
        plain = _unpack(path, scratch)
        if layout.format != "parquet":
            plain = _as_utf8(PlainFile(named=path, plain=plain), layout.encoding, scratch)
        if plain.stat().st_size == 0:
            raise DataError(f"{path} is empty. Give a file that holds data.")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the path and its permissions.") from None
    return PlainFile(named=path, plain=plain)


def bad_line(plain: Path, encoding: str = "utf-8") -> int | None:
    """The first line, counted from 1, whose bytes are not text in the encoding; None if all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for block in _blocks(plain):
        try:
            line += decoder.decode(block).count("\n")
        except UnicodeDecodeError as error:
            # The decoder may hold bytes of the block before, which have no line end in them.
            return line + error.object[: error.start].decode(encoding, "replace").count("\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return line
    return None


def _unpack(path: Path, scratch: Path) -> Path:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    if not packed:
        if path.suffix == ".gz" and path.stat().st_size:
            raise DataError(f"{path} is not a gzip file. Rename it, or fetch it again.")
        return path
    target = scratch / "unpacked"
    try:
        with gzip.open(path) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path} is cut short or damaged: it cannot be unpacked. Fetch it again.") from None
    return target


def _as_utf8(file: PlainFile, encodings: tuple[str, ...], scratch: Path) -> Path:
    with file.plain.open("rb") as opened:
        marked = opened.read(3) == codecs.BOM_UTF8
    chosen = _choose(file, encodings)
    if codecs.lookup(chosen).name == "utf-8":
        if not marked:
            return file.plain
        chosen = "utf-8-sig"
    target = scratch / "decoded"
    try:
        with (
            file.plain.open(encoding=chosen, newline="") as source,
            target.open("w", encoding="utf-8", newline="") as sink,
        ):
            shutil.copyfileobj(source, sink, _BLOCK)
    except UnicodeError:
        raise undecodable(file, encodings) from None
    return target


def _choose(file: PlainFile, encodings: tuple[str, ...]) -> str:
    """The first encoding that decodes the file; a single one is left for the reader to judge."""
    for encoding in encodings[:-1]:
        if bad_line(file.plain, encoding) is None:
            return encoding
    return encodings[-1]


def undecodable(file: PlainFile, encodings: tuple[str, ...] = ("utf-8",)) -> DataError:
    """An error that names the first line that is not text in the encoding."""
    line = bad_line(file.plain, encodings[-1])
    return DataError(
        f"{file.named}, line {line or 1} is not {' or '.join(encodings)} text. "
        "Set the mapping's `encoding`, or repair the file."
    )


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
