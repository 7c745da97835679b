"""What operators did to a catalogue's channel: who, when and why, written down before it is done.

The signed pointers say what devices were told; this says who wanted it. Where one of these has
no pointer after it, it was refused, or the process ended in between.
"""

from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedrec.errors import ConfigError
from fedrec.registry.registry import Registry
from fedrec.registry.tables import StoredAction

Act = Literal["promote", "roll back"]
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One of them. release: the hash of its manifest; by: such as `operator session 1f2e3d4c`; at: UTC seconds."""

    catalogue: str
    act: Act
    release: str
    by: str
    at: int
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip() or max(len(self.by), len(self.reason)) > _LONGEST:
            raise ConfigError(f"Say why, in at most {_LONGEST} characters: it is kept with the action.")


def write_down(registry: Registry, action: Action) -> None:
    """The action is kept for good; the very same as the last one, asked again, adds nothing."""

    def work(session: Session) -> None:
        of_it = select(StoredAction).where(StoredAction.catalogue == action.catalogue)
        last = session.scalars(of_it.order_by(StoredAction.number.desc()).limit(1)).first()
        if last is None or _action(last) != action:
            session.add(
                StoredAction(
                    catalogue=action.catalogue,
                    number=last.number + 1 if last else 1,
                    act=action.act,
                    release=action.release,
                    by=action.by,
                    at=action.at,
                    reason=action.reason,
                )
            )

    registry.write(work)


def actions(registry: Registry, catalogue: str) -> list[Action]:
    """Every action on a catalogue, the first one first."""
    of_it = select(StoredAction).where(StoredAction.catalogue == catalogue).order_by(StoredAction.number)
    return registry.read(lambda session: [_action(stored) for stored in session.scalars(of_it)])


def _action(stored: StoredAction) -> Action:
    return Action(
        catalogue=stored.catalogue,
        act=cast(Act, stored.act),
        release=stored.release,
        by=stored.by,
        at=stored.at,
        reason=stored.reason,
    )
