"""`fedrec client init`, `update`, `rollback` and `page`: a device, its release, its page."""

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fedrec.cli.release_source import Authority, Catalogue, Folder, Server, Source
from fedrec.errors import DataError

if TYPE_CHECKING:
    from fedrec.ondevice.installed import Installed

Device = Annotated[Path, typer.Argument(help="The device's folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Keys(StrEnum):
    """Where the key of the encrypted store is kept."""

    KEYRING = "keyring"
    FILE = "file"


def init(
    device: Device,
    key: Annotated[
        Path,
        typer.Option(help="The public key of the releases' signer, from a source that you trust.", show_default=False),
    ],
    release: Folder = None,
    server: Server = None,
    ca: Authority = None,
    catalogue: Catalogue = None,
    keys: Annotated[
        Keys | None, typer.Option(help="Where the store's key is kept; the system's keyring if it answers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a device: an encrypted store, a pinned signer, and a first release."""
    from fedrec.data.store.folder import STORE_FILE
    from fedrec.data.store.store import Store
    from fedrec.ondevice.releases import active, pin_signer

    source = Source(release=release, server=server, ca=ca, catalogue=catalogue)
    if (device / STORE_FILE).exists():
        raise DataError(f"{device} is a device already. Give it another release with `fedrec client update {device}`.")
    device.mkdir(mode=0o700, parents=True, exist_ok=True)
    pin_signer(device, key)
    installed = source.install(device, by_person=True) or active(device)
    Store.create(device, keys=keys.value if keys else None).close()
    _tell(device, installed, as_json=as_json)


def update(
    device: Device,
    release: Folder = None,
    server: Server = None,
    ca: Authority = None,
    catalogue: Catalogue = None,
    this_one: Annotated[
        bool, typer.Option("--this-one", help="Take exactly this release, even an older one or one of another run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a later release of the same signer and run, and recommend with it from now on.

    From a server, what it names as the newest, also an older round that it went back to, and the
    signed directory of who the other devices are.
    """
    from fedrec.ondevice.releases import active

    source = Source(release=release, server=server, ca=ca, catalogue=catalogue)
    installed = source.install(device, by_person=this_one)
    source.pin_directory(device)
    if installed is None and not as_json:
        typer.echo(f"{device}: the server has nothing newer.")
    else:
        _tell(device, installed or active(device), as_json=as_json)


def rollback(device: Device, as_json: AsJson = False) -> None:
    """Go back to the release before this one."""
    from fedrec.ondevice.releases import roll_back

    _tell(device, roll_back(device), as_json=as_json)


def page(
    device: Device,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page at once.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run the device's agent, with the page of the person, until it is stopped."""
    import webbrowser

    from fedrec.agent.running import running_agent

    # The end of a service is an end like any other: the store is closed, the port's file removed.
    signal.signal(signal.SIGTERM, _stop)

    def ready(address: str) -> None:
        if as_json:
            typer.echo(json.dumps({"address": address}))
        else:
            typer.echo(f"{address}\nThis address works once, within five minutes. Stop with Ctrl-C.")
        sys.stdout.flush()

    try:
        running_agent(device, port=port, ready=ready, browse=webbrowser.open if browser else None)
    except KeyboardInterrupt:
        typer.echo("The agent has stopped.", err=True)


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


def _tell(device: Path, installed: "Installed", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"device": str(device), "release": installed.id, "round": installed.round}))
    else:
        typer.echo(f"{device}: release {installed.id} of round {installed.round}, its signature and files verified.")
