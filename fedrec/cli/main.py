"""The `fedrec` command: one small module per noun, errors as one line, exit codes by kind."""

import os
import sys

import click
import typer

from fedrec import __version__
from fedrec.cli import catalogue, client, data, demo, privacy, server, simulate
from fedrec.errors import FedrecError

# No telemetry, no update checks, no look-ups at a hub: nothing leaves but what a user asks for.
# Waiting threads sleep: spinning ones cost twenty times the work on a machine that is shared.
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

app = typer.Typer(
    help="Private federated recommendation.", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
app.add_typer(data.app, name="data")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(privacy.app, name="privacy")
app.add_typer(client.app, name="client")
app.add_typer(server.app, name="server")
app.command("simulate")(simulate.simulate)
app.command("evaluate")(simulate.evaluate)
app.command("demo")(demo.demo)


@app.callback(invoke_without_command=True)
def fedrec(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Private federated recommendation."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a refusal is one line on stderr and exit code 1 or 2."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        code = app(standalone_mode=False)
    except FedrecError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except click.ClickException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)  # noqa: T201
        code = 2
    except ModuleNotFoundError as error:
        extra = {"client": "edge", "server": "server"}.get("".join(sys.argv[1:2]), "train,report")
        print(f"error: {error.name} is missing. Install fedrec[{extra}] for this command.", file=sys.stderr)  # noqa: T201
        code = 2
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'no file named'}", file=sys.stderr)  # noqa: T201
        code = 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        print("stopped; `--resume` goes on with a run", file=sys.stderr)  # noqa: T201
        code = 130
    sys.exit(code or 0)
