"""A simulated federation from scenario to report: train, evaluate, compare, write it down."""

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tomli_w

from fedrec.config import Scenario
from fedrec.errors import ConfigError, RefusedError
from fedrec.evaluation.baselines import NAMES, all_baselines
from fedrec.evaluation.heads import evaluate_heads
from fedrec.evaluation.protocol import Evaluation, evaluate, held_out_users
from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.local_grid import LocalGrid
from fedrec.files import write_atomically
from fedrec.privacy.accounting import checked_epsilon, composed
from fedrec.privacy.budget import Budget, require_plan_within
from fedrec.privacy.ledger import ledger_head, read_events
from fedrec.privacy.statement import check_client_ledgers, composed_epsilon, privacy_statement
from fedrec.release import signing_key
from fedrec.reporting.model_card import model_card, privacy_page
from fedrec.reporting.privacy import words
from fedrec.reporting.privacy.earlier import runs_before
from fedrec.reporting.privacy.report import write_privacy_report
from fedrec.reporting.run_report import write_run_report
from fedrec.reporting.summary import RunSummary
from fedrec.training.aggregation import ServerState
from fedrec.training.collecting import Engine
from fedrec.training.publishing import Publisher
from fedrec.training.reference import ReferenceEngine
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from fedrec.training.server_round import Recipe
from fedrec.training.workbench import Workbench, open_workbench

# Figures of fewer people say more about them than about the model.
_SMALLEST_GROUP = 20
_PACKAGES = ("fedrec", "flwr", "torch", "transformers", "peft", "opacus", "dp-accounting", "numpy")


class Watcher(Protocol):
    """Told how far a stage is; a progress bar, or nothing."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


EngineOf = Callable[[Workbench, RunFolder], Engine]


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
    clients = len(workbench.members)
    return GridEngine(LocalGrid(app, clients=clients), clients=clients, timeout=workbench.scenario.federation.timeout)


def simulate(
    request: Request, *, engine_of: EngineOf = flower_engine, watch: Watcher = lambda *_: None
) -> dict[str, Any]:
    """Run a scenario to its end; returns the object that `simulate --json` prints.

    The run folder then holds `result.json`, `report.html` and the releases. Raises
    ConfigError before anything is written where the scenario cannot run on these data.
    """
    request = replace(request, scenario=_with_whole_paths(request.scenario))
    workbench = open_workbench(request.scenario, request.data, encoding(watch))
    workbench = replace(workbench, budget=_check(workbench, request.out))
    folder = RunFolder(request.out, _config_text(workbench), resume=request.resume)
    result = _train(workbench, folder, engine_of, watch)
    measured = evaluations(workbench, final=request.final, watch=watch)
    result |= {part: headline(each) for part, each in measured.items()}
    result["groups"] = _groups(measured["validation"])
    result["beyond_accuracy"] = {name: each.as_json() for name, each in measured["validation"].beyond.items()}
    result["heads"] = _heads(workbench, final=request.final)
    result["baselines"] = baseline_results(workbench, request, watch)
    if workbench.plan and request.scenario.evaluation.non_private_twin:
        twin = _twin(request, engine_of, watch)
        result["baselines"]["non_private_twin"] = {part: twin[part] for part in ("validation", "test") if part in twin}
    result |= _about(workbench, request)
    write_atomically(folder.path / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    write_privacy_report(folder.path)
    summary = RunSummary.build(result, folder.rounds())
    write_run_report(folder.path / "report.html", [summary], title=request.scenario.name)
    return result


def _train(workbench: Workbench, folder: RunFolder, engine_of: EngineOf, watch: Watcher) -> dict[str, Any]:
    scenario = workbench.scenario
    key = signing_key(folder.signing_key)
    run_id = key.public_key().public_bytes_raw().hex()[:32]
    publisher = Publisher(workbench, folder.releases, key=key, run_id=run_id)
    rounds = scenario.federation.rounds

    def measure(state: ServerState) -> dict[str, Any] | None:
        if state.round % scenario.evaluation.every and state.round != rounds:
            return None
        workbench.model.load(state.adapter)
        found = evaluate(workbench.scorer(), workbench.split, test=False, seed=scenario.seed)
        return headline(found)

    def publish(state: ServerState, ledger_head: str) -> None:
        facts = run_facts(workbench, folder, state)
        publisher.publish(
            state,
            ledger_head=ledger_head,
            privacy=facts["privacy"],
            card=model_card(facts, scenario=scenario.name, source=asdict(workbench.dataset.info)),
            privacy_text=privacy_page(facts["privacy"]),
        )

    recipe = Recipe(
        federation=scenario.federation,
        plan=workbench.plan,
        layout=workbench.model.layout.hash,
        run_id=run_id,
        seed=scenario.seed,
        noise=scenario.privacy.noise,
        catalogue=len(workbench.index),
        prior_weight=scenario.model.prior_weight,
        budget=workbench.budget,
    )
    start = ServerState.start(np.zeros(workbench.model.layout.size, dtype=np.float32))
    if scenario.adapter.train_a:
        start = ServerState.start(workbench.model.flatten())
    hooks = Hooks(
        measure=measure,
        publish=publish,
        report=lambda record: watch(scenario.name, record["round"], rounds),
        prior=workbench.model.base.set_prior,
    )
    began = time.monotonic()
    state = run_rounds(folder, engine_of(workbench, folder), recipe, start, hooks)
    if not state.steps:
        raise RefusedError(
            f"No round of {folder.path} had enough sound replies: nothing was trained. See failures in rounds.jsonl."
        )
    workbench.model.load(state.adapter)
    events = read_events(folder.ledger)
    check_client_ledgers(
        events, ((client, folder.client(client) / "ledger.jsonl") for client in range(len(workbench.members)))
    )
    return run_facts(workbench, folder, state) | {"seconds": round(time.monotonic() - began, 3)}


def run_facts(workbench: Workbench, folder: RunFolder, state: ServerState) -> dict[str, Any]:
    """What a run's state can say of itself without scoring anything."""
    scenario = workbench.scenario
    size = workbench.model.layout.size
    privacy = privacy_statement(
        workbench.plan, read_events(folder.ledger), system_noise=scenario.privacy.noise == "system"
    )
    unit = privacy["unit"] or ""
    privacy["budget"] = scenario.budget.epsilon
    privacy["covers"] = list(words.covers(privacy["mode"], unit))
    privacy["does_not_cover"] = list(words.does_not_cover(privacy["mode"], unit))
    return {
        "run": str(folder.path),
        "rounds": state.round,
        "shared_parameters": size,
        "adapter_norm": float(np.linalg.norm(state.adapter)),
        "bytes_per_client_round": 2 * 4 * size,
        "ledger_head": ledger_head(folder.ledger),
        "privacy": privacy,
    }


def _twin(request: Request, engine_of: EngineOf, watch: Watcher) -> dict[str, Any]:
    """The same recipe without noise and clipping, in a run folder of its own."""
    scenario = request.scenario.without_privacy()
    workbench = open_workbench(scenario, request.data, encoding(watch))
    folder = RunFolder(request.out / "twin", _config_text(workbench), resume=True)
    result = _train(workbench, folder, engine_of, watch)
    measured = evaluations(workbench, final=request.final, watch=watch)
    return result | {part: headline(each) for part, each in measured.items()}


def evaluations(workbench: Workbench, *, final: bool, watch: Watcher) -> dict[str, Evaluation]:
    """The model as it stands on the validation item, and on the test item if `final`."""

    def score(*, test: bool) -> Evaluation:
        return evaluate(
            workbench.scorer(),
            workbench.split,
            test=test,
            seed=workbench.scenario.seed,
            index_vectors=workbench.index.vectors,
            progress=lambda done, total: watch("evaluate", done, total),
        )

    return {"validation": score(test=False)} | ({"test": score(test=True)} if final else {})


def baseline_results(workbench: Workbench, request: Request, watch: Watcher) -> dict[str, Any]:
    """The scenario's baselines, tuned on validation."""
    names = workbench.scenario.evaluation.baselines
    vectors = np.concatenate([workbench.index.vectors, workbench.query_vectors])
    count = iter(range(len(names)))
    fitted = all_baselines(
        workbench.split,
        vectors,
        seed=workbench.scenario.seed,
        names=names,
        progress=lambda _: watch("baselines", next(count), len(names)),
    )
    watch("baselines", len(names), len(names))
    found: dict[str, Any] = {}
    for name, each in fitted.items():
        found[name] = {"validation": headline(each.validation), "choice": dict(each.choice)}
        if request.final:
            tested = evaluate(each.scorer, workbench.split, test=True, seed=workbench.scenario.seed)
            found[name]["test"] = headline(tested)
    return found


def _check(workbench: Workbench, out: Path) -> Budget | None:
    """Refuse, before anything is written, what would only fail later; returns the budget of a private run.

    out: the folder of the run.
    """
    plan, federation = workbench.plan, workbench.scenario.federation
    unknown = set(workbench.scenario.evaluation.baselines) - set(NAMES)
    if unknown:
        raise ConfigError(f"There is no baseline `{sorted(unknown)[0]}`. Choose from {', '.join(NAMES)}.")
    held_out_users(workbench.split, test=False)
    users = workbench.split.sequences.users
    most = min(1e-6, 1 / (10 * users))
    if plan and plan.delta > most:
        raise ConfigError(f"privacy.delta is {plan.delta:g}; for {users} people it is at most {most:g}. Lower it.")
    budget = workbench.scenario.budget
    before = runs_before(plan, map(Path, budget.earlier_runs), own=out)
    if plan is None:
        return None
    # The whole plan is accounted by both libraries before anything is spent on it.
    checked_epsilon(composed(plan.spends(plan.limits.most)), delta=plan.delta)
    earlier = [spend for run in before for spend, count in run.spending for _ in range(count)]
    limits = Budget.of(budget, delta=plan.delta, earlier=earlier)
    require_plan_within(plan, limits, epsilon_of=composed_epsilon)
    for rate, period in ((budget.per_day, "day"), (budget.per_month, "month")):
        if rate is not None and rate < plan.limits.most:
            raise ConfigError(
                f"budget.per_{period} {rate} is under the {plan.limits.most} rounds of one client, and all rounds of a "
                "simulation fall on one day. Leave it out, or lower privacy.participations."
            )
    clients = len(workbench.members)
    asked = federation.rounds * min(federation.cohort, clients)
    if asked > clients * plan.limits.most:
        raise ConfigError(
            f"{federation.rounds} rounds of {min(federation.cohort, clients)} clients are {asked} participations; "
            f"{clients} clients that take part {plan.limits.most} times each allow {clients * plan.limits.most}. "
            "Lower federation.rounds or federation.cohort, or raise privacy.participations and pay for it."
        )
    return limits


def _with_whole_paths(scenario: Scenario) -> Scenario:
    """The scenario with its earlier runs named so that they are found from any folder."""
    earlier = tuple(str(Path(run).resolve()) for run in scenario.budget.earlier_runs)
    return replace(scenario, budget=replace(scenario.budget, earlier_runs=earlier))


def _config_text(workbench: Workbench) -> str:
    table = {
        "dataset_hash": workbench.dataset.info.hash,
        "layout": workbench.model.layout.hash,
        **_without_none(asdict(replace(workbench.scenario))),
    }
    return tomli_w.dumps(table)


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def _about(workbench: Workbench, request: Request) -> dict[str, Any]:
    info = workbench.dataset.info
    data = workbench.scenario.data
    return {
        "name": request.scenario.name,
        "clients": len(workbench.members),
        "users": info.users,
        "items": info.items,
        "positives": f"kinds {', '.join(data.positive_kinds)}; least rating {data.min_rating or 'any'}",
        "dataset": {"name": info.name, "source": info.source, "licence": info.licence, "hash": info.hash},
        "command": request.command,
        "config": _config_text(workbench),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
    }


def _groups(found: Evaluation) -> dict[str, Any]:
    groups = {group.name: group for group in (*found.by_activity, *found.by_item)}
    return {
        name: {"users": group.n, "ndcg@10": group.ndcg.as_json()}
        for name, group in groups.items()
        if group.n >= _SMALLEST_GROUP
    }


def _heads(workbench: Workbench, *, final: bool) -> dict[str, Any]:
    """Metrics of the heads beside next-item, on what they are trained for."""
    heads = sorted(set(workbench.scenario.training.heads) - {"next_item"})
    found = {
        part: evaluate_heads(
            workbench.scorer(), workbench.split, heads=heads, test=part == "test", seed=workbench.scenario.seed
        )
        for part in (("validation", "test") if final else ("validation",))
        if heads
    }
    return {part: {name: each.as_json() for name, each in metrics.items()} for part, metrics in found.items()}


def headline(found: Evaluation) -> dict[str, Any]:
    """The four metrics of `--json`."""
    return {name: estimate.as_json() for name, estimate in found.headline().items()}


def encoding(watch: Watcher) -> Callable[[int, int], None]:
    """A watcher of the encoder's pass."""
    return lambda done, total: watch("encode texts", done, total)
