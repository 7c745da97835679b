"""`fedrec server init`, `add-catalogue`, `renew`, `render` and `check`: making a service and keeping it sound."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.setup import Brought

Service = Annotated[Path, typer.Argument(metavar="DIR", help="The service's folder.", show_default=False)]
CatalogueName = Annotated[
    str, typer.Argument(metavar="CATALOGUE", help="A catalogue that is served.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

Certificate = Annotated[
    Path | None,
    typer.Option(help="A certificate for the proxy, with its chain, in PEM; our own authority's without it."),
]
Key = Annotated[Path | None, typer.Option(help="The private key of that certificate.")]


def init(
    service: Service,
    name: Annotated[
        list[str] | None, typer.Option(help="A host or an address under which devices reach the server; repeat it.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the proxy.")] = 443,
    fleet_port: Annotated[int, typer.Option(min=1, max=65535, help="The SuperLink's, on loopback.")] = 9443,
    front_port: Annotated[
        int, typer.Option(min=1, max=65535, help="The releases' and the console's, likewise.")
    ] = 9480,
    certificate: Certificate = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a service: its keys, certificates and settings, the proxy's config, units and a compose file."""
    from fedrec.service.config import NetworkConfig
    from fedrec.service.setup import make_service

    network = NetworkConfig(
        names=tuple(name or NetworkConfig().names), public_port=port, fleet_port=fleet_port, front_port=front_port
    )
    folder = make_service(service, network=network, now=datetime.now(UTC), brought=_brought(certificate, key))
    _tell(folder, as_json=as_json)


def add_catalogue(
    service: Service,
    dataset: Annotated[
        Path, typer.Argument(help="A dataset folder; only its public part is copied.", show_default=False)
    ],
    scenario: Annotated[Path, typer.Option(help="The recipe of its rounds.", show_default=False)],
    name: Annotated[str | None, typer.Option("--as", help="What to call it; the scenario's name without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a catalogue, with a run, a ledger and a budget of its own."""
    from fedrec.config_file import load_scenario
    from fedrec.service.adding import add_catalogue as add
    from fedrec.service.config import load_service
    from fedrec.service.folder import ServiceFolder

    folder = ServiceFolder(service)
    load_service(folder)
    made = add(folder, name or load_scenario(scenario).name, dataset=dataset, scenario=scenario)
    if as_json:
        typer.echo(json.dumps({"service": str(service), "catalogue": made.name, "path": str(made.path)}))
    else:
        typer.echo(f"{made.path} is served from now on. Enrol devices: fedrec server enrol {service} REQUEST.json")


def renew(
    service: Service,
    certificate: Certificate = None,
    key: Key = None,
    new_authority: Annotated[
        bool, typer.Option("--new-authority", help="Make another authority, which every device has to be given.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Renew the server's certificate with its own authority, or take the one that you bring."""
    from fedrec.service.certificates import days_left, shown_to_devices
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.setup import renew as renewed
    from fedrec.service.setup import replace_authority

    folder, now = ServiceFolder(service), datetime.now(UTC)
    if new_authority:
        replace_authority(folder, now=now)
    else:
        renewed(folder, now=now, brought=_brought(certificate, key))
    shown = shown_to_devices(folder)[0]
    days = int(days_left(shown, now=now))
    if as_json:
        typer.echo(json.dumps({"certificate": str(shown), "days": days}))
    else:
        typer.echo(f"{shown} is good for {days} days. Start the service again, and reload the proxy, to use it.")


def render(service: Service, as_json: AsJson = False) -> None:
    """Write the app and what deploys the service anew, after service.toml or fedrec itself changed."""
    from fedrec.service.config import load_service
    from fedrec.service.folder import ServiceFolder
    from fedrec.service.rendering import render as write

    folder = ServiceFolder(service)
    write(folder, load_service(folder).network, at=service.resolve())
    typer.echo(
        json.dumps({"rendered": str(folder.deploy)}) if as_json else f"{folder.deploy} and {folder.app} are anew."
    )


def check(service: Service, as_json: AsJson = False) -> None:
    """Look at permissions, certificates, room, ports and versions; exit code 1 if something is bad."""
    from fedrec.service.checks import check as look
    from fedrec.service.folder import ServiceFolder

    findings = look(ServiceFolder(service), now=datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:5} {finding.about}: {finding.says}")
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


def _brought(certificate: Path | None, key: Path | None) -> "Brought | None":
    from fedrec.service.setup import Brought

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("A certificate is brought with its key. Give both --certificate and --key.")
    return Brought(certificate, key)


def _tell(folder: "ServiceFolder", *, as_json: bool) -> None:
    """What was made, and what to give to devices."""
    signer = folder.signing_key.with_suffix(".pub")
    if as_json:
        made = {"service": str(folder.path), "ca": str(folder.ca_certificate), "signer": str(signer)}
        typer.echo(json.dumps(made))
        return
    typer.echo(f"{folder.path} is a service. Devices need two of its files, over a way that you trust:")
    typer.echo(f"  {folder.ca_certificate}  whom to talk to\n  {signer}  whose releases to use")
    typer.echo(f"Next: fedrec server add-catalogue {folder.path} DATASET --scenario S.toml")
    typer.echo(f"      fedrec server run {folder.path}")
