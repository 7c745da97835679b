"""How a message is written: a head, then its fields in their order, in one way only; any other bytes are refused.

The head names the format, the kind of message, the session, and the client that it goes to or comes from. No field is
larger than the bytes that came, so reading takes no more memory than they do.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from fedrec.errors import ProtocolError
from fedrec.secagg.framing import LARGEST_NUMBER

_HEAD = struct.Struct(">10s16s32sQ")
_FORMAT = b"fedrec sa1"
_COUNT = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")

# Reading annotations takes longer than reading a message.
_KNOWN: "dict[type, tuple[tuple[str, _Form], ...]]" = {}

Table = Mapping[int, bytes]
M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """session: its id. client: that a request goes to, or an answer comes from."""

    session: bytes
    client: int


class _Reader:
    """Takes fields off the front of a message; ProtocolError where it is too short."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._raw[self._at : self._at + size]
        if len(part) != size:
            raise _malformed()
        self._at += size
        return part

    def count(self, each: int) -> int:
        """How many parts of at least so many bytes follow: never more than the message has room for."""
        (found,) = _COUNT.unpack(self.take(_COUNT.size))
        if found * each > len(self._raw) - self._at:
            raise _malformed()
        return int(found)

    def end(self) -> None:
        if self._at != len(self._raw):
            raise _malformed()


@dataclass(frozen=True, slots=True)
class _Form:
    """How one kind of field is written and read."""

    write: Callable[[Any], bytes]
    read: Callable[[_Reader], Any]


def fixed(size: int) -> _Form:
    """A field of exactly so many bytes."""
    return _Form(lambda value: _exactly(value, size), lambda reader: reader.take(size))


def rows(width: int) -> _Form:
    """A field with a row of so many bytes for each of some clients, ascending."""
    return _Form(lambda table: _write_rows(table, width), lambda reader: _read_rows(reader, width))


def packed(message: object, address: Address) -> bytes:
    """The one way of writing the message."""
    head = _HEAD.pack(_FORMAT, _kind(type(message)), address.session, address.client)
    return head + b"".join(form.write(getattr(message, name)) for name, form in _forms(type(message)))


def unpacked(kind: type[M], raw: bytes, address: Address) -> M:
    """The message of this kind; ProtocolError for another kind, session or client, or anything else."""
    if not isinstance(raw, bytes):
        raise _malformed()
    reader = _Reader(raw)
    form, name, session, client = _HEAD.unpack(reader.take(_HEAD.size))
    if (form, name) != (_FORMAT, _kind(kind)):
        raise ProtocolError(f"A message is no {kind.__name__}. Refuse it: it is of another stage.")
    if (session, client) != (address.session, address.client):
        raise ProtocolError(f"A {kind.__name__} is of another round or client. Refuse it.")
    found = {name: form.read(reader) for name, form in _forms(kind)}
    reader.end()
    return kind(**found)


def _kind(kind: type) -> bytes:
    return kind.__name__.encode().ljust(16)


def _forms(kind: type) -> tuple[tuple[str, _Form], ...]:
    """How each field of the dataclass is written: the annotation says it."""
    if kind not in _KNOWN:
        hints = get_type_hints(kind, include_extras=True)
        _KNOWN[kind] = tuple((name, get_args(hint)[1]) for name, hint in hints.items())
    return _KNOWN[kind]


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"A field of {size} bytes was given {len(value)}.")
    return value


def _write_rows(table: Table, width: int) -> bytes:
    written = b"".join(_NUMBER.pack(client) + _exactly(table[client], width) for client in sorted(table))
    return _COUNT.pack(len(table)) + written


def _read_rows(reader: _Reader, width: int) -> dict[int, bytes]:
    each = struct.Struct(f">Q{width}s")
    count = reader.count(each.size)
    table = dict(each.iter_unpack(reader.take(count * each.size)))
    if len(table) != count or not _ascend(table):
        raise _malformed()
    return table


def _write_numbers(clients: Iterable[int]) -> bytes:
    return _write_rows(dict.fromkeys(clients, b""), 0)


def _read_numbers(reader: _Reader) -> tuple[int, ...]:
    return tuple(_read_rows(reader, 0))


def _ascend(clients: Iterable[int]) -> bool:
    found = [*clients, LARGEST_NUMBER + 1]
    return all(one < other for one, other in pairwise(found))


def _write_blobs(pieces: tuple[bytes, ...]) -> bytes:
    return _COUNT.pack(len(pieces)) + b"".join(_COUNT.pack(len(piece)) + piece for piece in pieces)


def _read_blobs(reader: _Reader) -> tuple[bytes, ...]:
    return tuple(reader.take(reader.count(1)) for _ in range(reader.count(_COUNT.size)))


Numbers = Annotated[tuple[int, ...], _Form(_write_numbers, _read_numbers)]
Blobs = Annotated[tuple[bytes, ...], _Form(_write_blobs, _read_blobs)]


def _malformed() -> ProtocolError:
    return ProtocolError("A message of a secure sum is cut off, too long, or not written in its one way. Refuse it.")
