"""Flower's ClientApp: a node of a simulated federation is one client of the scenario's data.

The run's settings say which scenario and data; the node's `partition-id` says which client.
"""

from functools import lru_cache
from pathlib import Path

from flwr.app import Context

from fedrec.federation.handlers import build_client_app
from fedrec.federation.run_settings import RunSettings
from fedrec.training.client import Client
from fedrec.training.run_folder import client_folder
from fedrec.training.workbench import Workbench, open_workbench


@lru_cache(maxsize=1)
def _workbench(settings: RunSettings) -> Workbench:
    return open_workbench(settings.scenario(), Path(settings.data))


def client_of(context: Context) -> Client:
    """The client that this node is."""
    settings = RunSettings.read(context.run_config)
    client = int(context.node_config["partition-id"])
    return _workbench(settings).client(client, client_folder(Path(settings.out), client))


app = build_client_app(client_of)
