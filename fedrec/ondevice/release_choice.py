"""Which of a device's releases is active, and which were before: one small file, replaced atomically."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.files import write_atomically

CURRENT = "current"
_KEPT = 2
_NAME = re.compile(r"\d{5,}(-[0-9a-f]{16}){1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Folder names, the latest first.

    set_aside: what the person went back from; an update does not bring it again.
    """

    active: str
    earlier: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()

    def switch(self, name: str) -> "Choice":
        """The choice after another release became active."""
        earlier = [each for each in (self.active, *self.earlier) if each != name]
        aside = tuple(each for each in self.set_aside if each != name)
        return Choice(active=name, earlier=tuple(earlier[:_KEPT]), set_aside=aside)

    def back(self) -> "Choice":
        """The choice after the active release was set aside."""
        aside = (self.active, *self.set_aside)[:_KEPT]
        return Choice(active=self.earlier[0], earlier=self.earlier[1:], set_aside=aside)

    @property
    def names(self) -> set[str]:
        """Every release that stays on the disk."""
        return {self.active, *self.earlier, *self.set_aside}


def read_choice(device: Path) -> Choice | None:
    """What this device has chosen; None before its first release, VerificationError if the file is damaged."""
    try:
        table = json.loads((device / CURRENT).read_text())
        choice = Choice(active=table["active"], earlier=tuple(table["earlier"]), set_aside=tuple(table["set_aside"]))
        if not all(_NAME.fullmatch(name) for name in choice.names):
            raise ValueError("a name is none")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerificationError(
            f"{device / CURRENT} is damaged ({type(error).__name__}). Remove it and install the release again."
        ) from None
    return choice


def write_choice(device: Path, choice: Choice) -> None:
    """Make a choice the device's own; it is on the disk when this returns."""
    write_atomically(device / CURRENT, (json.dumps(asdict(choice), indent=2) + "\n").encode())
