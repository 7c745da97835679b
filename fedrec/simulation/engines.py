"""How a simulation asks its clients: in a loop, or through Flower's messages in this process."""

from collections.abc import Callable

from fedrec.federation.grid_engine import Grid, GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.training.collecting import Engine
from fedrec.training.reference import ReferenceEngine
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

EngineOf = Callable[[Workbench, RunFolder], Engine]


def reference_engine(workbench: Workbench, folder: RunFolder) -> Engine:
    """A loop over clients."""
    return ReferenceEngine(workbench, folder)


def flower_engine(workbench: Workbench, folder: RunFolder) -> Engine:
    """Flower's messages and apps on a grid in this process."""
    app = build_client_app(
        lambda context: workbench.client(
            int(context.node_config["partition-id"]), folder.client(int(context.node_config["partition-id"]))
        )
    )
    return engine_on(LocalGrid(app, clients=len(workbench.members)), workbench)


def engine_on(grid: Grid, workbench: Workbench) -> Engine:
    """The clients of a simulation, which are the nodes of a grid."""
    timeout = workbench.scenario.federation.timeout
    return GridEngine(grid, IdentifiedNodes(grid, clients=len(workbench.members), timeout=timeout))
