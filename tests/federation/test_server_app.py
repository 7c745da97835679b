"""What a run's settings make of the ServerApp."""

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from fedrec.errors import ConfigError
from fedrec.federation.local_grid import LocalGrid
from server.app import app


def run(**settings: str) -> None:
    """As Flower runs it."""
    keys = dict.fromkeys(("scenario", "data", "out", "set", "service", "catalogue"), "")
    config = {**keys, "final": False, **settings}
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=config)
    app(LocalGrid(ClientApp(), clients=1), context)


def test_settings_of_a_service_serve(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no service"):
        run(service=str(tmp_path), catalogue="films")


@pytest.mark.parametrize("settings", [{}, {"catalogue": "films"}, {"service": "/somewhere"}])
def test_any_other_settings_simulate(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="must be an absolute path"):
        run(**settings)
