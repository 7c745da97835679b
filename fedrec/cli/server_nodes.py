"""`fedrec server enrol`, `nodes`, `revoke` and `directory`: which devices take part in a service's rounds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.errors import DataError, RefusedError

if TYPE_CHECKING:
    from fedrec.registry.nodes import Node
    from fedrec.registry.registry import Registry
    from fedrec.service.enrolment import Outcome
    from fedrec.service.folder import ServiceFolder

Service = Annotated[Path, typer.Argument(metavar="DIR", help="The service's folder.", show_default=False)]
Catalogue = Annotated[str, typer.Option(help="The catalogue; not needed where there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def enrol(
    service: Service,
    request: Annotated[
        Path, typer.Argument(help="What `fedrec client enrol` wrote on the device.", show_default=False)
    ],
    catalogue: Catalogue = "",
    words: Annotated[str, typer.Option(help="The five words, as the device's owner read them out.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether the words are the same.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a device a client of a catalogue, or give a client the new keys that it asks for."""
    from fedrec.enrolment import fingerprint
    from fedrec.service.enrolment import enrol as enrol_request
    from fedrec.service.enrolment import given_request

    asked = given_request(request)
    _require_same(fingerprint(asked), words.strip(), asked=not yes)
    with _opened(service, catalogue) as (folder, registry, name):
        outcome = enrol_request(folder, registry, asked, catalogue=name)
    (node,) = outcome.nodes
    if node.state != "enrolled":
        raise RefusedError(" ".join(outcome.notes) or f"Client {node.client} is {node.state}.")
    how = "has new keys" if asked.replaces else "is enrolled"
    _tell(outcome, f"Client {node.client} of catalogue {node.catalogue} {how}.", as_json=as_json)


def nodes(service: Service, catalogue: Catalogue = "", as_json: AsJson = False) -> None:
    """The clients of a catalogue, by number: since when, and what became of their keys."""
    from fedrec.registry.nodes import nodes as registry_nodes

    with _opened(service, catalogue) as (_, registry, name):
        found = registry_nodes(registry.database, name)
    if as_json:
        typer.echo(json.dumps({"catalogue": name, "nodes": [_table(node) for node in found]}))
        return
    for node in found:
        ended = f", since {_day(node.ended_at)}" if node.ended_at else ""
        typer.echo(f"client {node.client:>6}  asked {_day(node.asked_at)}  {node.state}{ended}")
    typer.echo(f"{sum(node.state == 'enrolled' for node in found)} clients are enrolled in catalogue {name}.", err=True)


def revoke(
    service: Service,
    client: Annotated[int, typer.Argument(min=0, help="The client's number.", show_default=False)],
    catalogue: Catalogue = "",
    as_json: AsJson = False,
) -> None:
    """Let a client take part no more: no round asks it, its node is refused, its number is never given again."""
    from fedrec.service.enrolment import revoke as revoke_client

    with _opened(service, catalogue) as (folder, registry, name):
        outcome = revoke_client(folder, registry, name, client)
    said = f"Client {client} of catalogue {name} is revoked. What it sent before stays in the releases and the ledger."
    _tell(outcome, said, as_json=as_json)


def directory(
    service: Service,
    catalogue: Catalogue = "",
    out: Annotated[Path | None, typer.Option(help="Write the signed directory here.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """The signed directory of identity keys that devices pin: its serial, and how many clients it names."""
    from fedrec.files import write_atomically
    from fedrec.identities import read_directory
    from fedrec.release import signing_key

    with _opened(service, catalogue) as (folder, registry, name):
        document = registry.directory(name)
        key = signing_key(folder.signing_key)
    if document is None:
        raise DataError(f"Catalogue {name} has no directory before its first client is enrolled.")
    named = read_directory(document, signer=key.public_key())
    if out:
        write_atomically(out, document)
    facts = {"catalogue": name, "serial": named.serial, "clients": len(named.entries)}
    typer.echo(json.dumps(facts) if as_json else f"Directory {named.serial} of {name}: {len(named.entries)} clients.")


def _require_same(here: str, said: str, *, asked: bool) -> None:
    """Go on if the device's owner sees the same words: then nobody exchanged the request on its way."""
    if said and said != here:
        raise RefusedError(f"The words of this request are {here}, not {said}. It is not what that device wrote.")
    if asked and not said:
        typer.confirm(f"The words of this request are\n  {here}\nDoes the device show the same?", abort=True, err=True)


@contextmanager
def _opened(service: Path, catalogue: str) -> "Iterator[tuple[ServiceFolder, Registry, str]]":
    """The service, its registry, and the catalogue that is meant."""
    from fedrec.registry.registry import Registry
    from fedrec.service.config import artifacts_url, database_url, load_service
    from fedrec.service.folder import ServiceFolder

    folder = ServiceFolder(service)
    config, names = load_service(folder), folder.names()
    if not catalogue and len(names) != 1:
        raise DataError(f"Say which catalogue with --catalogue: {', '.join(names) or 'there is none yet'}.")
    with Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config)) as registry:
        yield folder, registry, catalogue or names[0]


def _tell(outcome: "Outcome", said: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"nodes": [_table(node) for node in outcome.nodes], "notes": list(outcome.notes)}))
    else:
        typer.echo(said)
    for note in outcome.notes:
        typer.echo(f"note: {note}", err=True)


def _table(node: "Node") -> dict[str, Any]:
    facts = {"catalogue": node.catalogue, "client": node.client, "state": node.state}
    return {**facts, "asked_at": node.asked_at, "ended_at": node.ended_at}


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
