"""The rounds of one catalogue as a service: begun or gone on with, until they are done or the operator stops them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.config import Scenario
from fedrec.config_file import load_scenario
from fedrec.errors import DataError
from fedrec.federation.enrolled_nodes import EnrolledNodes
from fedrec.federation.exchange import Pace
from fedrec.federation.grid_engine import Grid, GridEngine
from fedrec.files import write_atomically
from fedrec.registry.control import wished
from fedrec.registry.nodes import enrolled_nodes, identities
from fedrec.registry.registry import Registry
from fedrec.release import signing_key
from fedrec.runs.admission import require_small_delta
from fedrec.runs.facts import config_text
from fedrec.runs.recipe import recipe_of, start_of
from fedrec.runs.releasing import release
from fedrec.service.admission import admit
from fedrec.service.clock import Clock
from fedrec.service.config import RoundsConfig, artifacts_url, database_url, load_service
from fedrec.service.continuing import require_latest, require_only_run
from fedrec.service.custody import settled_noise_key
from fedrec.service.folder import CatalogueFolder, ServiceFolder
from fedrec.service.gate import Gate, StoppedError
from fedrec.service.logs import open_log
from fedrec.service.records import Records
from fedrec.service.shelf import Shelf
from fedrec.service.standing import Standing
from fedrec.service.turns import turn
from fedrec.service.watched_engine import WatchedEngine
from fedrec.training.aggregation import ServerState
from fedrec.training.blocks import blocks_of, total_size
from fedrec.training.foundation import Foundation, open_foundation
from fedrec.training.publishing import Publisher
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder

Outcome = Literal["done", "stopped"]
_CLOCK = Clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the rounds of a catalogue have from their service. key: signs releases and pointers."""

    catalogue: CatalogueFolder
    scenario: Scenario
    rounds: RoundsConfig
    registry: Registry
    key: Ed25519PrivateKey
    standing: Standing
    clock: Clock


def serve_catalogue(service: Path, catalogue: str, grid: Grid, *, clock: Clock = _CLOCK) -> Outcome:
    """Run the rounds of a catalogue over the enrolled nodes of a grid; called again after a kill, they go on.

    Raises RefusedError where too few devices came in time, where another process runs these
    rounds, or where their records contradict each other; ConfigError for settings that devices
    do not serve. Whatever it raises is told to the operator first.
    """
    folder = ServiceFolder(service)
    config, place = load_service(folder), folder.catalogue(catalogue)
    scenario = load_scenario(place.scenario)
    log = open_log(folder.logs / f"rounds-{catalogue}.log", part="rounds")
    opened = Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config))
    with turn(place), opened as registry:
        standing = Standing(registry, catalogue, rounds=scenario.federation.rounds, clock=clock, log=log)
        with standing.faults():
            noise_key = settled_noise_key(folder, catalogue)
            served = Served(
                catalogue=place,
                scenario=scenario,
                rounds=config.rounds,
                registry=registry,
                key=_signer(folder),
                standing=standing,
                clock=clock,
            )
            return _serve(served, grid, noise_key=noise_key)


def _serve(served: Served, grid: Grid, *, noise_key: Path) -> Outcome:
    foundation = _foundation(served)
    run = RunFolder(served.catalogue.run, config_text(foundation), resume=True, noise_key=noise_key)
    recipe = recipe_of(foundation, run_id=run.id(), directory_of=lambda: _identity_keys(served))
    _require_continued(served, foundation, run)
    _show_signer(run, served.key)
    records, shelf = _records(served, foundation, run_id=recipe.run_id), _shelf(served)
    # A kill falls between what counts and what tells of it.
    state = run.state()
    shelf.catch_up(run.releases, finished=state.round if state else -1)
    records.catch_up(run.rounds())
    engine = GridEngine(grid, EnrolledNodes(grid, lambda: _enrolled(served, foundation)), pace=_pace(served))
    watched = WatchedEngine(engine, standing=served.standing, clock=served.clock)
    publisher = Publisher(foundation, run.releases, key=served.key, run_id=recipe.run_id)

    def publish(state: ServerState, ledger_head: str) -> None:
        served.standing.say("publishing", f"the release of round {state.round} is published")
        shelf.put(release(foundation, run, publisher, state=state, ledger_head=ledger_head))

    hooks = Hooks(
        measure=lambda _: None,  # nobody's data are here
        publish=publish,
        report=lambda record: records.add(record, served.standing.seconds()),
        prior=foundation.model.base.set_prior,
        gate=_gate(served, last=records.last_began()),
    )
    try:
        run_rounds(run, watched, recipe, start_of(foundation), hooks, key=served.key)
    except StoppedError:
        return "stopped"
    served.standing.say("done", f"all {recipe.federation.rounds} rounds are done")
    return "done"


def _require_continued(served: Served, foundation: Foundation, run: RunFolder) -> None:
    """Raise VerificationError where the registry knows of spending that the run's own ledger does not."""
    require_latest(served.registry, run)
    earlier = foundation.scenario.budget.earlier_runs
    require_only_run(served.registry, run, catalogue=served.catalogue.name, plan=foundation.plan, earlier=earlier)


def _show_signer(run: RunFolder, key: Ed25519PrivateKey) -> None:
    """Whose signatures a run's ledger and releases have lies beside them, for whoever verifies the folder."""
    public = run.signing_key.with_suffix(".pub")
    if not public.exists():
        write_atomically(public, key.public_key().public_bytes_raw().hex().encode() + b"\n")


def _foundation(served: Served) -> Foundation:
    """Items, model, plan and budget of rounds that may begin."""
    served.standing.say("waiting", "the catalogue is read")
    foundation = open_foundation(served.scenario, served.catalogue.path)
    people = len(enrolled_nodes(served.registry.database, served.catalogue.name))
    return replace(foundation, budget=admit(foundation, served.catalogue.run, people=people))


def _enrolled(served: Served, foundation: Foundation) -> dict[bytes, int]:
    """The client of each enrolled node; raises ConfigError where they have become too many for the plan's delta."""
    clients = enrolled_nodes(served.registry.database, served.catalogue.name)
    if foundation.plan:
        require_small_delta(foundation.plan, people=len(clients))
    return clients


def _identity_keys(served: Served) -> dict[int, bytes]:
    """The raw identity key of each enrolled client."""
    found = identities(served.registry.database, served.catalogue.name)
    return {client: bytes.fromhex(key) for client, key in found.items()}


def _gate(served: Served, *, last: float | None) -> Gate:
    return Gate(
        rounds=served.rounds,
        federation=served.scenario.federation,
        wished=lambda: wished(served.registry, served.catalogue.name),
        standing=served.standing,
        clock=served.clock,
        last=last,
    )


def _records(served: Served, foundation: Foundation, *, run_id: str) -> Records:
    plan, size = foundation.plan, foundation.model.layout.size
    prior = len(foundation.index) if plan and plan.popularity else 0
    reply = total_size(blocks_of(plan, "update", size=size)) if plan else size
    return Records(
        registry=served.registry,
        catalogue=served.catalogue.name,
        run=run_id,
        numbers=(size + prior, reply),
        clock=served.clock,
    )


def _shelf(served: Served) -> Shelf:
    return Shelf(
        registry=served.registry,
        catalogue=served.catalogue.name,
        key=served.key,
        promotion=served.rounds.promotion,
        clock=served.clock,
    )


def _pace(served: Served) -> Pace:
    return Pace(poll=served.rounds.poll, now=served.clock.steady, sleep=served.clock.sleep)


def _signer(folder: ServiceFolder) -> Ed25519PrivateKey:
    """The service's key; never a new one, which no device would believe."""
    if not folder.signing_key.exists():
        raise DataError(f"{folder.signing_key} is missing. Restore it from a copy: devices trust no other.")
    return signing_key(folder.signing_key)
