"""A simulated federation from scenario to report: train, evaluate, compare, write it down."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedrec.config import Scenario
from fedrec.errors import RefusedError
from fedrec.files import write_atomically
from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import check_client_ledgers, check_population_ledger
from fedrec.release import signing_key
from fedrec.reporting.privacy.report import write_privacy_report
from fedrec.reporting.run_report import write_run_report
from fedrec.reporting.summary import RunSummary
from fedrec.runs.facts import config_text, run_facts
from fedrec.runs.recipe import recipe_of, run_id_of, start_of
from fedrec.runs.releasing import release
from fedrec.simulation.about import about, who_was_there
from fedrec.simulation.admission import admit
from fedrec.simulation.availability import availability_of
from fedrec.simulation.engines import EngineOf, flower_engine, name_of
from fedrec.simulation.identities import directory_of
from fedrec.simulation.measures import baseline_results, evaluations, groups, headlines, heads, validation_headline
from fedrec.simulation.patchy_engine import PatchyEngine, Simulated
from fedrec.simulation.watching import Curve, Watcher, encoding
from fedrec.training.aggregation import ServerState
from fedrec.training.collecting import Engine
from fedrec.training.publishing import Publisher
from fedrec.training.recipe import Recipe
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench, open_workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to simulate, on what, and where to write it.

    final: score the test item too, once. command: what a reader types to do it again.
    """

    scenario: Scenario
    data: Path
    out: Path
    resume: bool = False
    final: bool = False
    command: str = ""


def simulate(
    request: Request, *, engine_of: EngineOf = flower_engine, watch: Watcher = lambda *_: None
) -> dict[str, Any]:
    """Run a scenario to its end; returns the object that `simulate --json` prints.

    The run folder then holds `result.json`, `report.html` and the releases. Raises
    ConfigError before anything is written where the scenario cannot run on these data.
    """
    request = replace(request, scenario=_with_whole_paths(request.scenario))
    workbench = open_workbench(request.scenario, request.data, encoding(watch))
    workbench = replace(workbench, budget=admit(workbench, request.out))
    folder = RunFolder(request.out, config_text(workbench), resume=request.resume)
    result = _train(workbench, folder, engine_of, watch) | {"engine": name_of(engine_of)}
    result |= _measured(workbench, request, watch)
    if workbench.plan and request.scenario.evaluation.non_private_twin:
        twin = _twin(request, engine_of, watch)
        result["baselines"]["non_private_twin"] = {part: twin[part] for part in ("validation", "test") if part in twin}
    result |= about(workbench, command=request.command) | who_was_there(workbench, folder)
    text = json.dumps(result, indent=2) + "\n"
    # Verified first: a result whose statement its ledger contradicts never reaches the disk.
    write_privacy_report(folder.path, result=json.loads(text))
    write_atomically(folder.path / "result.json", text.encode())
    summary = RunSummary.build(result, folder.rounds())
    write_run_report(folder.path / "report.html", [summary], title=request.scenario.name)
    return result


def _train(workbench: Workbench, folder: RunFolder, engine_of: EngineOf, watch: Watcher) -> dict[str, Any]:
    """Run all rounds and load the last adapter into the model; returns what the run can say of itself."""
    key = signing_key(folder.signing_key)
    run_id = run_id_of(key)
    hooks = _hooks(workbench, folder, Publisher(workbench, folder.releases, key=key, run_id=run_id), watch)
    began = time.monotonic()
    with engine_of(workbench, folder) as engine:
        state = run_rounds(
            folder, _as_available(engine, workbench), _recipe(workbench, run_id=run_id), start_of(workbench), hooks
        )
    if not state.steps:
        raise RefusedError(
            f"No round of {folder.path} had enough sound replies: nothing was trained. See failures in rounds.jsonl."
        )
    workbench.model.load(state.adapter)
    events = read_events(folder.ledger)
    check_population_ledger(events, read_events(folder.population_ledger))
    check_client_ledgers(events, folder.client_ledgers())
    return run_facts(workbench, folder, state) | {"seconds": round(time.monotonic() - began, 3)}


def _as_available(engine: Simulated, workbench: Workbench) -> Engine:
    """The engine with its clients as they come and go; the engine itself where they always are there and answer."""
    availability = availability_of(workbench)
    if availability is None:
        return engine
    return PatchyEngine(engine, availability, enough=workbench.scenario.federation.cohort)


def _hooks(workbench: Workbench, folder: RunFolder, publisher: Publisher, watch: Watcher) -> Hooks:
    scenario, curve = workbench.scenario, Curve()
    rounds = scenario.federation.rounds

    def measure(state: ServerState) -> dict[str, Any] | None:
        if state.round % scenario.evaluation.every and state.round != rounds:
            return None
        workbench.model.load(state.adapter)
        return validation_headline(workbench)

    def publish(state: ServerState, ledger_head: str) -> None:
        release(workbench, folder, publisher, state=state, ledger_head=ledger_head)

    return Hooks(
        measure=measure,
        publish=publish,
        report=lambda record: watch(scenario.name, record["round"], rounds, curve.told(record)),
        prior=workbench.model.base.set_prior,
    )


def _measured(workbench: Workbench, request: Request, watch: Watcher) -> dict[str, Any]:
    """Every figure of the model as it stands, and of the baselines."""
    found = evaluations(workbench, final=request.final, watch=watch)
    return headlines(found) | {
        "groups": groups(found["validation"]),
        "beyond_accuracy": {name: each.as_json() for name, each in found["validation"].beyond.items()},
        "heads": heads(workbench, final=request.final),
        "baselines": baseline_results(workbench, final=request.final, watch=watch),
    }


def _recipe(workbench: Workbench, *, run_id: str) -> Recipe:
    clients, seed = len(workbench.members), workbench.scenario.seed
    return recipe_of(workbench, run_id=run_id, directory_of=lambda: directory_of(clients, seed=seed))


def _twin(request: Request, engine_of: EngineOf, watch: Watcher) -> dict[str, Any]:
    """The same recipe without noise and clipping, in a run folder of its own."""
    scenario = request.scenario.without_privacy()
    workbench = open_workbench(scenario, request.data, encoding(watch))
    folder = RunFolder(request.out / "twin", config_text(workbench), resume=True)
    result = _train(workbench, folder, engine_of, watch)
    return result | headlines(evaluations(workbench, final=request.final, watch=watch))


def _with_whole_paths(scenario: Scenario) -> Scenario:
    """The scenario with its earlier runs named so that they are found from any folder."""
    earlier = tuple(str(Path(run).resolve()) for run in scenario.budget.earlier_runs)
    return replace(scenario, budget=replace(scenario.budget, earlier_runs=earlier))
