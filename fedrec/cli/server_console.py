"""`fedrec server console`: the operator's way to the page."""

import json
from typing import Annotated

import typer

from fedrec.cli.server_setup import AsJson, Service


def console(
    service: Service,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print the token that reads /metrics, and nothing else, instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a link that opens the console once, within five minutes."""
    from fedrec.console.entrance import console_link
    from fedrec.console.tickets import metrics_token, operator_token
    from fedrec.service.folder import ServiceFolder

    folder = ServiceFolder(service)
    if metrics:
        token = metrics_token(operator_token(folder))
        typer.echo(json.dumps({"token": token}) if as_json else token)
        return
    address = console_link(folder)
    if as_json:
        typer.echo(json.dumps({"address": address}))
    else:
        typer.echo(f"{address}\nThis link works once, within five minutes, on the service's own machine.")
