"""What the operator wishes of a catalogue's rounds: kept as a list, read by the rounds before each one."""

from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedrec.errors import ConfigError
from fedrec.registry.registry import Registry
from fedrec.registry.tables import StoredWish

Wish = Literal["run", "pause", "stop"]
_WISHES = ("run", "pause", "stop")
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A wish. by: who said so, such as `console`; at: UTC seconds; reason: in the operator's words."""

    catalogue: str
    wish: Wish
    by: str
    at: int
    reason: str = ""

    def __post_init__(self) -> None:
        if self.wish not in _WISHES:
            raise ConfigError(f"`{self.wish[:20]}` is no wish. Use one of {', '.join(_WISHES)}.")
        if max(len(self.by), len(self.reason)) > _LONGEST:
            raise ConfigError(f"A reason has at most {_LONGEST} characters.")


def ask(registry: Registry, control: Control) -> Control:
    """This is what is wished from now on; returns it. The same wish again adds nothing."""

    def work(session: Session) -> Control:
        last = _last(session, control.catalogue)
        if last is None or _control(last).wish != control.wish:
            session.add(
                StoredWish(
                    catalogue=control.catalogue,
                    number=last.number + 1 if last else 1,
                    wish=control.wish,
                    by=control.by,
                    at=control.at,
                    reason=control.reason,
                )
            )
            return control
        return _control(last)

    return registry.write(work)


def wished(registry: Registry, catalogue: str) -> Control:
    """What is wished of a catalogue now: to run, where nobody ever said otherwise."""
    last = registry.read(lambda session: _last(session, catalogue))
    return _control(last) if last else Control(catalogue=catalogue, wish="run", by="nobody", at=0)


def wishes(registry: Registry, catalogue: str) -> list[Control]:
    """Every wish that there was, the first one first."""
    of_it = select(StoredWish).where(StoredWish.catalogue == catalogue).order_by(StoredWish.number)
    return registry.read(lambda session: [_control(stored) for stored in session.scalars(of_it)])


def _last(session: Session, catalogue: str) -> StoredWish | None:
    of_it = select(StoredWish).where(StoredWish.catalogue == catalogue).order_by(StoredWish.number.desc())
    return session.scalars(of_it.limit(1)).first()


def _control(stored: StoredWish) -> Control:
    return Control(
        catalogue=stored.catalogue, wish=cast(Wish, stored.wish), by=stored.by, at=stored.at, reason=stored.reason
    )
