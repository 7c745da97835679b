"""What a device has seen of each catalogue's channel: it never takes an earlier pointer for a new one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.files import write_atomically
from fedrec.pointer import Pointer

CHANNELS = "channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The last pointer of a catalogue. content: the sha256 of what was signed.

    etag: of the answer, once what it points to is installed; None before that.
    """

    serial: int
    content: str
    etag: str | None = None


def read_seen(device: Path) -> dict[str, Seen]:
    """By catalogue, what this device saw; raises VerificationError if the file is damaged."""
    try:
        table = json.loads((device / CHANNELS).read_text(encoding="utf-8"))
        seen = {name: Seen(**each) for name, each in table.items()}
        if not all(type(each.serial) is int and isinstance(each.content, str) for each in seen.values()):
            raise ValueError("another form")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise VerificationError(
            f"{device / CHANNELS} is damaged ({type(error).__name__}): this device no longer knows what it saw last. "
            "Remove it if you trust the server."
        ) from None
    return seen


def write_seen(device: Path, seen: Mapping[str, Seen]) -> None:
    """This is what the device saw; it is on the disk when this returns."""
    table = {name: asdict(each) for name, each in sorted(seen.items())}
    write_atomically(device / CHANNELS, (json.dumps(table, indent=2) + "\n").encode(), mode=0o600)


def seen_now(before: Seen | None, pointer: Pointer) -> Seen:
    """What has been seen after this pointer.

    Raises VerificationError for one that is older, or another of the same serial.
    """
    content = hashlib.sha256(pointer.content()).hexdigest()
    if before and pointer.serial < before.serial:
        raise VerificationError(
            f"The server names release {pointer.serial} of `{pointer.catalogue}` as the newest, and this device has "
            f"seen {before.serial}. Nothing was used: the server is not up to date, or somebody answers in its place."
        )
    if before and pointer.serial == before.serial and content != before.content:
        raise VerificationError(
            f"The signer made two different pointers with serial {pointer.serial}. Nothing was used; tell the operator."
        )
    return Seen(serial=pointer.serial, content=content)
