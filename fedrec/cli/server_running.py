"""`fedrec server run` and `status`, and the two programs of ours that `run` starts."""

import json
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.cli.server_setup import AsJson, Service
from fedrec.errors import FedrecError

if TYPE_CHECKING:
    from fedrec.registry.registry import Registry
    from fedrec.service.folder import ServiceFolder

Once = Annotated[bool, typer.Option("--once", help="End when the rounds of every catalogue are done or stopped.")]


def run(service: Service, once: Once = False) -> None:
    """Run the service until it is stopped: the SuperLink, the rounds, the releases and the console."""
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.running import run_service

    def begins() -> None:
        typer.echo(f"It starts; `fedrec server status {service}` says how it stands. Stop with Ctrl-C.", err=True)

    raise typer.Exit(run_service(ServiceFolder(service), once=once, stopping=_until_stopped(), begins=begins))


def front(service: Service) -> None:
    """Serve the releases and the console on loopback; `run` starts this."""
    from fedrec.console.app import create_console
    from fedrec.service.config import load_service
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.front import MOST_CONNECTIONS, create_front
    from fedrec.web.serve import Running, listen, serve

    folder = ServiceFolder(service)
    config = load_service(folder)
    with open_registry(folder) as registry, listen(config.network.front_port) as listening:
        try:
            console = create_console(folder, config=config, registry=registry)
        except FedrecError as error:
            # Devices fetch their releases all the same.
            typer.echo(f"error: there is no console: {error}", err=True)
            serve(create_front(registry), listening, running=Running(service="front", most=MOST_CONNECTIONS))
            return
        closing = console.state.console.live.close
        running = Running(service="front", most=MOST_CONNECTIONS, closing=closing)
        serve(create_front(registry, console=console), listening, running=running)


def rounds(service: Service, once: Once = False) -> None:
    """Keep a run per catalogue going; `run` starts this."""
    from fedrec.service.enrolment import settle
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.keeping import Keeper, keep_runs
    from fedrec.service.logs import open_log

    stopping, folder = _until_stopped(), ServiceFolder(service)
    log = open_log(folder.logs / "keeper.log", part="rounds")
    with open_registry(folder) as registry:
        try:
            # What an enrolment or a revocation before this could not finish, or a SuperLink has lost since.
            for note in settle(folder, registry):
                log.warning("a node is not admitted", problem=note)
        except FedrecError as error:
            log.warning("who may connect is as it was", problem=str(error))
        keeper = Keeper(folder=folder, registry=registry, log=log)
        raise typer.Exit(keep_runs(keeper, once=once, stopping=stopping.wait))


def status(service: Service, as_json: AsJson = False) -> None:
    """Say what runs and how the rounds stand; exit code 1 if the service does not run."""
    from fedrec.service.config import load_service
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.running import is_running
    from fedrec.service.telling import told

    folder, running = ServiceFolder(service), is_running(ServiceFolder(service))
    kept = told(folder.runs) if running else {}
    smallest = load_service(folder).smallest_group
    with open_registry(folder) as registry:
        catalogues = [_standing(registry, name, kept.get(name, {}), smallest=smallest) for name in folder.names()]
    found = {
        "running": running,
        "programs": told(folder.state).get("programs", []) if running else [],
        "catalogues": catalogues,
    }
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _say(service, found)
    if not running:
        raise typer.Exit(1)


def _until_stopped() -> threading.Event:
    """An event that the end of the program's own process sets."""
    stopping = threading.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: stopping.set())
    return stopping


def open_registry(folder: "ServiceFolder") -> "Registry":
    """The registry that the settings of a service name."""
    from fedrec.registry.registry import Registry
    from fedrec.service.config import artifacts_url, database_url, load_service

    config = load_service(folder)
    return Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config))


def _standing(registry: "Registry", name: str, run: dict[str, Any], *, smallest: int) -> dict[str, Any]:
    """How a catalogue stands, as far as the console shows it too: no small group of devices is counted out."""
    from fedrec.console import rows
    from fedrec.registry.control import wished
    from fedrec.registry.status import round_status

    status, in_use = round_status(registry, name), registry.current(name)
    now = rows.now(status, smallest=smallest, time=int(time.time())) if status else None
    return {
        "name": name,
        "phase": now.phase if now else "not begun",
        "round": now.round if now else 0,
        "rounds": now.rounds if now else 0,
        "message": (now.detail or now.title) if now else "",
        "updated_at": now.updated_at if now else None,
        "process": run.get("standing", "none"),
        "problem": run.get("problem", ""),
        "wish": wished(registry, name).wish,
        "in_use": in_use.release if in_use else None,
    }


def _say(service: Path, found: dict[str, Any]) -> None:
    if not found["running"]:
        typer.echo(f"The service does not run. Start it with `fedrec server run {service}`.")
    for program in found["programs"]:
        trouble = ", ends again and again: see its log" if program["in_a_loop"] else ""
        typer.echo(f"{program['name']:10} {program['state']}, started again {program['restarts']} times{trouble}")
    for each in found["catalogues"]:
        typer.echo(f"{each['name']:10} {each['phase']}, round {each['round']} of {each['rounds']}. {each['message']}")
        if each["problem"]:
            typer.echo(f"{'':10} {each['process']}; the last run ended: {each['problem']}")
        typer.echo(f"{'':10} devices use {each['in_use'] or 'no release yet'}; the operator wishes: {each['wish']}")
