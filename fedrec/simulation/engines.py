"""How a simulation asks its clients: all at once, in a loop, or through Flower's messages in this process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import torch
from flwr.app import Context

from fedrec.errors import ConfigError, RefusedError
from fedrec.federation.grid_engine import Grid, GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.simulation.identities import directory_of, identity_of
from fedrec.simulation.patchy_engine import Simulated
from fedrec.training.client import Client
from fedrec.training.cohort import CohortEngine
from fedrec.training.participant import Participant
from fedrec.training.reference import ReferenceEngine
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

EngineOf = Callable[[Workbench, RunFolder], AbstractContextManager[Simulated]]


@contextmanager
def cohort_engine(
    workbench: Workbench, folder: RunFolder, *, device: str = "cpu", products: torch.dtype | None = None
) -> Iterator[Simulated]:
    """All clients of a round in batched computations."""
    with closing(CohortEngine(workbench, folder, device=device, products=products)) as engine:
        yield engine


@contextmanager
def reference_engine(workbench: Workbench, folder: RunFolder) -> Iterator[Simulated]:
    """A loop over clients."""
    _require_own_ledgers(folder)
    yield ReferenceEngine(workbench, folder, lambda number: participant(workbench, folder, number))


@contextmanager
def flower_engine(workbench: Workbench, folder: RunFolder) -> Iterator[Simulated]:
    """Flower's messages and apps on a grid in this process."""
    _require_own_ledgers(folder)
    app = build_client_app(
        lambda context: _client(workbench, folder, _number(context)),
        lambda context: participant(workbench, folder, _number(context)),
    )
    yield engine_on(LocalGrid(app, clients=len(workbench.members)), workbench)


def participant(workbench: Workbench, folder: RunFolder, number: int) -> Participant:
    """A simulated client in rounds under masks."""
    return participant_in(workbench, folder.client(number), number)


def participant_in(workbench: Workbench, folder: Path, number: int) -> Participant:
    """The same; folder: its own."""
    seed = workbench.scenario.seed
    return Participant(
        client=workbench.client(number, folder),
        number=number,
        identity=identity_of(number, seed=seed),
        directory=directory_of(len(workbench.members), seed=seed),
    )


def _client(workbench: Workbench, folder: RunFolder, number: int) -> Client:
    return workbench.client(number, folder.client(number))


def _number(context: Context) -> int:
    return int(context.node_config["partition-id"])


def engine_on(grid: Grid, workbench: Workbench) -> GridEngine:
    """The clients of a simulation, which are the nodes of a grid."""
    timeout = workbench.scenario.federation.timeout
    return GridEngine(grid, IdentifiedNodes(grid, clients=len(workbench.members), timeout=timeout))


def _require_own_ledgers(folder: RunFolder) -> None:
    if folder.population_ledger.exists():
        raise RefusedError(
            f"{folder.path} was begun with one ledger for all its clients. Resume it with --engine cohort."
        )


def engine_named(name: str, *, device: str = "cpu", precision: str = "float32") -> EngineOf:
    """The engine of a name, on a torch device; precision: of products with the catalogue, float32 or bf16.

    Raises ConfigError where there is no such engine, device or precision.
    """
    if name not in ENGINES:
        raise ConfigError(f"There is no engine `{name}`. Choose flower, reference or cohort.")
    if precision not in _PRODUCTS:
        raise ConfigError(f"There is no precision `{precision}`. Choose float32 or bf16.")
    if (device, precision) == ("cpu", "float32"):
        return ENGINES[name]
    if name != "cohort":
        raise ConfigError(
            f"The engine `{name}` computes on the cpu in float32, not on `{device}` in {precision}. "
            "Use --engine cohort."
        )
    try:
        float(torch.zeros(1, device=device))
    except (RuntimeError, AssertionError, NotImplementedError):
        # What torch says of a device that is missing differs from build to build, and takes many lines.
        raise ConfigError(f"torch computes on no `{device}` here. Use cpu, or a build of torch for it.") from None
    return partial(cohort_engine, device=device, products=_PRODUCTS[precision])


def name_of(engine_of: EngineOf) -> str:
    """By which name the command line knows an engine: a report says whether masks were used at all."""
    plain = engine_of.func if isinstance(engine_of, partial) else engine_of
    return next((name for name, each in ENGINES.items() if each is plain), "")


_PRODUCTS = {"float32": None, "bf16": torch.bfloat16}
ENGINES: Mapping[str, EngineOf] = {"flower": flower_engine, "reference": reference_engine, "cohort": cohort_engine}
