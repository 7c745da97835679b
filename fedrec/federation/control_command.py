"""Flower's command `flwr` for the SuperLink of a service, which asks for a secret: `python -m` this, then its words."""

import os
import sys

from flwr.cli import utils
from flwr.cli.app import app

from fedrec.errors import FedrecError
from fedrec.federation.control_secret import client_showing, secret_from

_CLIENT = "ControlHttpClient"


def main() -> None:
    """Run `flwr` with this process's arguments, showing the secret of the file that the environment names."""
    try:
        client = client_showing(secret_from(os.environ))
    except FedrecError as error:
        sys.exit(f"error: {error}")
    # Every command makes its client by this name.
    setattr(utils, _CLIENT, client)
    app()


if __name__ == "__main__":
    main()
