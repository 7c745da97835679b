"""What an operator does: pause, resume, stop, put a release into use, roll back; each with a reason that is kept."""

from fastapi import APIRouter

from fedrec.console.routes.asking import REFUSALS, REFUSED, By, Console, Here, Name
from fedrec.console.schemas import Promote, RollBack, Stop, Wish
from fedrec.console.wire import Done
from fedrec.errors import RefusedError
from fedrec.registry.actions import Act, Action, write_down
from fedrec.registry.channel import release_before
from fedrec.registry.control import Control, ask
from fedrec.registry.control import Wish as Wished
from fedrec.release import signing_key
from fedrec.web.documented import MISSING
from fedrec.web.refusals import NotHereError

router = APIRouter(prefix="/console/v1/catalogues/{name}", tags=["acting"], responses=REFUSALS | MISSING | REFUSED)


@router.post("/pause")
def pause(name: Name, asked: Wish, here: Here, by: By) -> Done:
    """Begin no further round; the one under way ends as it would."""
    _wish(here, name, "pause", by=by, reason=asked.reason)
    return Done(said="Paused: the round under way ends, and no other begins.")


@router.post("/resume")
def resume(name: Name, asked: Wish, here: Here, by: By) -> Done:
    """Begin rounds again."""
    _wish(here, name, "run", by=by, reason=asked.reason)
    return Done(said="Resumed: rounds begin again.")


@router.post("/stop")
def stop(name: Name, asked: Stop, here: Here, by: By) -> Done:
    """End the rounds of this catalogue, after the one under way."""
    if asked.confirm != name:
        raise RefusedError("Nothing was stopped. Confirm with the catalogue's name.")
    _wish(here, name, "stop", by=by, reason=asked.reason)
    return Done(said="Stopped: the round under way ends, then the rounds of this catalogue do.")


@router.post("/promote")
def promote(name: Name, asked: Promote, here: Here, by: By) -> Done:
    """Tell devices to use this release from now on."""
    registry = here.view.registry
    here.view.require(name)
    found = next((row for row in registry.releases(name) if row.manifest_hash == asked.release), None)
    if found is None:
        raise NotHereError("The catalogue has no release with this manifest.")
    now = _write_down(here, name, "promote", asked.release, serial=asked.serial, by=by, reason=asked.reason)
    registry.promote(name, asked.release, key=signing_key(here.view.folder.signing_key), now=now)
    return Done(said=f"Release {found.id} of round {found.round} is in use.")


@router.post("/rollback")
def roll_back(name: Name, asked: RollBack, here: Here, by: By) -> Done:
    """Tell devices to use what was in use before."""
    registry = here.view.registry
    before = release_before(registry.channel(here.view.require(name)))
    now = _write_down(here, name, "roll back", before, serial=asked.serial, by=by, reason=asked.reason)
    pointer = registry.roll_back(name, key=signing_key(here.view.folder.signing_key), now=now)
    return Done(said=f"Release {pointer.release} of round {pointer.round} is in use again.")


def _wish(here: Console, name: str, wish: Wished, *, by: str, reason: str) -> None:
    at = int(here.view.clock())
    ask(here.view.registry, Control(catalogue=here.view.require(name), wish=wish, by=by, at=at, reason=reason))


def _write_down(here: Console, name: str, act: Act, release: str, *, serial: int, by: str, reason: str) -> int:
    """What is about to be done is on record; returns when. Refuses what was decided on something out of date."""
    if not here.view.folder.signing_key.exists():
        raise RefusedError("The service's signing key is not here: pointers cannot be signed. Restore it from a copy.")
    current = here.view.registry.current(name)
    if serial != (current.serial if current else 0):
        raise RefusedError("Somebody changed what is in use meanwhile. Look again, then decide.")
    at = int(here.view.clock())
    write_down(here.view.registry, Action(catalogue=name, act=act, release=release, by=by, at=at, reason=reason))
    return at
