"""`fedrec server releases`, `promote`, `rollback`, `pause`, `resume` and `stop`: what an operator decides."""

import getpass
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.cli.server_running import open_registry
from fedrec.cli.server_setup import AsJson, CatalogueName, Service
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.pointer import Pointer
    from fedrec.registry.control import Wish
    from fedrec.service.folder import ServiceFolder

Why = Annotated[str, typer.Option(help="Kept with the decision.")]
_NO_REASON = "no reason was given"


def releases(service: Service, catalogue: CatalogueName, as_json: AsJson = False) -> None:
    """List the releases of a catalogue, the latest first, and say which one devices use."""
    from fedrec.service.folder import ServiceFolder

    folder = _served(ServiceFolder(service), catalogue)
    with open_registry(folder) as registry:
        rows, in_use = registry.releases(catalogue), registry.current(catalogue)
    used = in_use.manifest_hash if in_use else None
    if as_json:
        found = [{**asdict(row), "in_use": row.manifest_hash == used} for row in rows]
        typer.echo(json.dumps({"catalogue": catalogue, "releases": found}))
        return
    for row in rows:
        mark = "in use" if row.manifest_hash == used else ""
        when = datetime.fromtimestamp(row.published_at, UTC)
        typer.echo(f"{row.id}  round {row.round:5}  {when:%Y-%m-%d %H:%M}  {row.new_bytes:12,} new bytes  {mark}")
    if not rows:
        typer.echo(f"There is no release of {catalogue} yet.")


def promote(
    service: Service,
    catalogue: CatalogueName,
    release: Annotated[str, typer.Argument(help="A release's id, from `releases`.", show_default=False)],
    why: Why = _NO_REASON,
    as_json: AsJson = False,
) -> None:
    """Tell devices to use a release from now on."""
    from fedrec.registry.actions import Action, write_down
    from fedrec.release import signing_key
    from fedrec.service.folder import ServiceFolder

    folder, now = _served(ServiceFolder(service), catalogue), int(time.time())
    with open_registry(folder) as registry:
        action = Action(catalogue=catalogue, act="promote", release=release, by=_operator(), at=now, reason=why)
        write_down(registry, action)
        told = registry.promote(catalogue, release, key=signing_key(folder.signing_key), now=now)
    _tell(told, as_json=as_json)


def rollback(service: Service, catalogue: CatalogueName, why: Why = _NO_REASON, as_json: AsJson = False) -> None:
    """Tell devices to use the release before the one in use."""
    from fedrec.registry.actions import Action, write_down
    from fedrec.registry.channel import release_before
    from fedrec.release import signing_key
    from fedrec.service.folder import ServiceFolder

    folder, now = _served(ServiceFolder(service), catalogue), int(time.time())
    with open_registry(folder) as registry:
        before = release_before(registry.channel(catalogue))
        action = Action(catalogue=catalogue, act="roll back", release=before, by=_operator(), at=now, reason=why)
        write_down(registry, action)
        told = registry.roll_back(catalogue, key=signing_key(folder.signing_key), now=now)
    _tell(told, as_json=as_json)


def pause(service: Service, catalogue: CatalogueName, why: Why = _NO_REASON, as_json: AsJson = False) -> None:
    """Begin no further round until `resume`; the one under way is finished."""
    _wish(service, catalogue, "pause", why, as_json=as_json)


def resume(service: Service, catalogue: CatalogueName, why: Why = _NO_REASON, as_json: AsJson = False) -> None:
    """Go on with the rounds after `pause` or `stop`."""
    _wish(service, catalogue, "run", why, as_json=as_json)


def stop(service: Service, catalogue: CatalogueName, why: Why = _NO_REASON, as_json: AsJson = False) -> None:
    """End the rounds of a catalogue until `resume`; its releases are still served."""
    _wish(service, catalogue, "stop", why, as_json=as_json)


def _wish(service: Service, catalogue: str, wish: "Wish", why: str, *, as_json: bool) -> None:
    from fedrec.registry.control import Control, ask
    from fedrec.service.folder import ServiceFolder

    folder = _served(ServiceFolder(service), catalogue)
    wished = Control(catalogue=catalogue, wish=wish, by=_operator(), at=int(time.time()), reason=why)
    with open_registry(folder) as registry:
        kept = ask(registry, wished)
    if as_json:
        typer.echo(json.dumps(asdict(kept)))
    else:
        words = {"run": "The rounds go on.", "pause": "No further round begins.", "stop": "The rounds end."}
        typer.echo(f"{catalogue}: {words[kept.wish]}")


def _served(folder: "ServiceFolder", catalogue: str) -> "ServiceFolder":
    """The folder, if it serves this catalogue: a slip of the keyboard decides nothing."""
    if catalogue not in folder.names():
        names = ", ".join(folder.names()) or "none"
        raise ConfigError(f"{folder.path} serves no catalogue `{catalogue[:64]}`. It serves: {names}.")
    return folder


def _operator() -> str:
    return f"command line of {getpass.getuser()}"


def _tell(told: "Pointer", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(told)))
    else:
        typer.echo(f"{told.catalogue}: devices use release {told.release} of round {told.round} from now on.")
