"""`fedrec client enrol` and `run`: a device joins a service, and answers its rounds."""

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from fedrec.cli.client_device import AsJson, Device
from fedrec.errors import ConfigError


def enrol(
    device: Device,
    rotate: Annotated[bool, typer.Option("--rotate", help="Ask for new keys in place of those in use.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Forget the keys in use, and ask as a new device.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the request here instead of printing it.", show_default=False)
    ] = None,
) -> None:
    """Write what the operator of a service needs to enrol this device: public keys, and proof that it has the rest."""
    from fedrec.data.store.store import Store
    from fedrec.enrolment import fingerprint, read_request
    from fedrec.files import write_atomically
    from fedrec.ondevice.enrolment import enrolment_request, forget_keys

    if rotate and new:
        raise ConfigError("--rotate goes on as the same client, --new begins as another. Choose one.")
    with Store.open(device) as store:
        if new:
            forget_keys(store)
        request = enrolment_request(store, now=time.time(), rotate=rotate)
    if out:
        write_atomically(out, request)
    else:
        typer.echo(request.decode(), nl=False)
    typer.echo(
        f"Tell the operator these words, by another way than the request:\n  {fingerprint(read_request(request))}",
        err=True,
    )


def run(
    device: Device,
    server: Annotated[str, typer.Option(help="HOST:PORT of the service.", show_default=False)],
    ca: Annotated[Path, typer.Option(help="The service's ca.crt, from its operator.", show_default=False)],
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what Flower's SuperNode says.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take part in a service's rounds until it is stopped; what the owner has not agreed to is not answered."""
    from fedrec.data.store.store import Store

    try:
        from fedrec.federation.taking_part import Server, take_part
    except ModuleNotFoundError as error:
        if error.name != "flwr":
            raise
        raise ConfigError("Taking part in rounds needs Flower. Install fedrec[fleet].") from None

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(stop))

    def told(what: str, facts: dict[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps({"event": what, **facts}))
            sys.stdout.flush()
        else:
            typer.echo(" ".join([what, *(f"{name}={fact}" for name, fact in facts.items())]), err=True)

    with Store.open(device) as store:
        take_part(store, Server(address=server, authority=ca), stop=stop, told=told, verbose=verbose)


def _stop(stop: threading.Event) -> None:
    """The first signal ends the work in order, the second at once."""
    if stop.is_set():
        raise SystemExit(130)
    stop.set()
