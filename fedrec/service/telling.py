"""Small files in which one process of a service tells the others how things stand."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Telling:
    """A JSON file that is always whole. It is not forced onto the disk: after a power cut nothing of it is true."""

    path: Path
    _told: bytes = field(default=b"")

    def tell(self, content: Mapping[str, Any]) -> None:
        """The file says this, for its owner alone. Raises OSError if it cannot be written."""
        new = json.dumps(content, indent=2).encode() + b"\n"
        if new == self._told:
            return
        draft = self.path.with_name(f".{self.path.name}.new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(new)
        draft.replace(self.path)
        self._told = new


def told(path: Path) -> Mapping[str, Any]:
    """What such a file says; nothing where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
