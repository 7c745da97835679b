"""The hash chain of a privacy ledger: each entry holds the hash of the one before, wherever the lines are kept."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from fedrec.errors import VerificationError

GENESIS = "0" * 64


class Chain:
    """The entries of a ledger, oldest first, of which each follows from the one before."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    @classmethod
    def of(cls, lines: Iterable[bytes], *, where: Path) -> Self:
        """The chain of a ledger's lines.

        where: named in the VerificationError, if a line was edited, moved or damaged.
        """
        chain = cls()
        for number, line in enumerate(lines):
            if not chain._follows(line):
                raise VerificationError(
                    f"{where}: entry {number} does not continue the chain: it was edited, moved or damaged. "
                    "Restore the ledger from a copy; nothing can be released on this one."
                )
            chain._entries.append(json.loads(line))
        return chain

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was recorded, oldest first."""
        return [entry["event"] for entry in self._entries]

    @property
    def head(self) -> str:
        """The hash of the last entry, which vouches for all before it."""
        return str(self._entries[-1]["hash"]) if self._entries else GENESIS

    @property
    def hashes(self) -> set[str]:
        """Every head that this chain has had, the empty one's included."""
        return {GENESIS, *(entry["hash"] for entry in self._entries)}

    def continued(self, events: Sequence[Mapping[str, Any]]) -> tuple[Self, list[bytes]]:
        """The chain with these events behind it, and their lines, without ends; this one stays as it is."""
        chain, lines = type(self)(), []
        chain._entries = list(self._entries)
        for event in events:
            entry = {"seq": len(chain), "prev": chain.head, "event": dict(event)}
            lines.append(_line({**entry, "hash": _hash(entry)}))
            chain._entries.append(json.loads(lines[-1]))
        return chain, lines

    def _follows(self, line: bytes) -> bool:
        try:
            entry = json.loads(line)
            linked = entry["seq"] == len(self) and entry["prev"] == self.head and entry["hash"] == _hash(entry)
            return bool(linked) and line == _line(entry)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True).encode()


def _hash(entry: Mapping[str, Any]) -> str:
    body = {key: entry[key] for key in ("seq", "prev", "event")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
