"""How a message is written: a head, then its fields in their order, in one way only; any other bytes are refused.

The head names the format, the kind of message, the session, and the client that it goes to or comes from. No field is
larger than the bytes that came, and none has more parts than a roster has clients, so that reading a stranger's bytes
takes little more memory than they do, and little time.
"""

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from fedrec.errors import ProtocolError
from fedrec.secagg.framing import LARGEST_NUMBER
from fedrec.secagg.roster import LARGEST_ROSTER

_HEAD = struct.Struct(">10s16s32sQ")
_FORMAT = b"fedrec sa2"
_COUNT = struct.Struct(">I")

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
        """How many parts of at least so many bytes follow: never more than the message has room for, or a roster."""
        found = self.length()
        if found > LARGEST_ROSTER or found * each > len(self._raw) - self._at:
            raise _malformed()
        return found

    def length(self) -> int:
        """How many bytes follow."""
        (found,) = _COUNT.unpack(self.take(_COUNT.size))
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
    clients = sorted(table)
    return _write_numbers(clients) + b"".join(_exactly(table[client], width) for client in clients)


def _read_rows(reader: _Reader, width: int) -> dict[int, bytes]:
    clients = _read_numbers(reader, width)
    rows = reader.take(len(clients) * width)
    return {client: rows[at * width : (at + 1) * width] for at, client in enumerate(clients)}


def _write_numbers(clients: Collection[int]) -> bytes:
    """How many they are, then the gap before each: seven bits in a byte, lowest first, the last one below 128."""
    written, before = bytearray(), -1
    for client in sorted(clients):
        gap = client - before - 1
        if gap < 0:
            raise ValueError(f"Client {client} is named twice, or has no number.")
        while gap > 0x7F:
            written.append(gap & 0x7F | 0x80)
            gap >>= 7
        written.append(gap)
        before = client
    return _COUNT.pack(len(clients)) + written


def _read_numbers(reader: _Reader, width: int = 0) -> tuple[int, ...]:
    clients, before = [], -1
    for _ in range(reader.count(1 + width)):
        before += 1 + _read_gap(reader)
        if before > LARGEST_NUMBER:
            raise _malformed()
        clients.append(before)
    return tuple(clients)


def _read_gap(reader: _Reader) -> int:
    gap = 0
    for shift in range(0, 64, 7):
        byte = reader.take(1)[0]
        gap |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    # A last byte of zero says nothing: the same gap is written without it.
    if byte >= 0x80 or (shift and not byte):
        raise _malformed()
    return gap


def _write_blobs(pieces: tuple[bytes, ...]) -> bytes:
    return _COUNT.pack(len(pieces)) + b"".join(_COUNT.pack(len(piece)) + piece for piece in pieces)


def _read_blobs(reader: _Reader) -> tuple[bytes, ...]:
    return tuple(reader.take(reader.length()) for _ in range(reader.count(_COUNT.size)))


Numbers = Annotated[tuple[int, ...], _Form(_write_numbers, _read_numbers)]
Blobs = Annotated[tuple[bytes, ...], _Form(_write_blobs, _read_blobs)]


def _malformed() -> ProtocolError:
    return ProtocolError("A message of a secure sum is cut off, too long, or not written in its one way. Refuse it.")
