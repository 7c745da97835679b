"""Flower's ClientApp: a node is a person's own device, or one client of a simulated federation.

A node whose settings name a `device` folder is that device: its store, its release, its owner's
switch. Otherwise the run's settings say which scenario and data, and `partition-id` is its number.
Flower starts a process for every message: what only a simulation needs is not imported for a device.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context

from fedrec.data.store.store import Store
from fedrec.errors import RefusedError
from fedrec.federation.device_client import UNNUMBERED, DeviceInSums, device_client
from fedrec.federation.handlers import Answering, build_client_app
from fedrec.federation.run_settings import RunSettings
from fedrec.training.client import Client
from fedrec.training.run_folder import client_folder

if TYPE_CHECKING:
    from fedrec.training.workbench import Workbench


@lru_cache(maxsize=1)
def _workbench(settings: RunSettings) -> "Workbench":
    from fedrec.training.workbench import open_workbench

    return open_workbench(settings.scenario(), Path(settings.data))


@lru_cache(maxsize=1)
def _store(device: Path) -> Store:
    return Store.open(device)


def client_of(context: Context) -> Client:
    """The client that this node is."""
    if device := str(context.node_config.get("device", "")):
        number = int(context.node_config.get("partition-id", UNNUMBERED))
        return device_client(Path(device), _store(Path(device)), number=number)
    workbench, folder, number = _simulated(context)
    return workbench.client(number, folder)


def participant_of(context: Context) -> Answering:
    """The same client in rounds under masks."""
    if device := str(context.node_config.get("device", "")):
        return DeviceInSums(device=Path(device), store=_store(Path(device)))
    from fedrec.simulation.engines import participant_in

    return participant_in(*_simulated(context))


def _simulated(context: Context) -> tuple["Workbench", Path, int]:
    """Of a client of a simulation: what it runs on, its folder and its number."""
    if "num-partitions" not in context.node_config:
        # A deployed node never reads or writes paths that a server names.
        raise RefusedError("This node is no device and no part of a simulation. Name its `device` folder.")
    settings = RunSettings.read(context.run_config)
    number = int(context.node_config["partition-id"])
    return _workbench(settings), client_folder(Path(settings.out), number), number


app = build_client_app(client_of, participant_of)
