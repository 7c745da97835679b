"""How good a model is: its figures, those of groups and heads, and those of the baselines beside it."""

from typing import Any

import numpy as np

from fedrec.evaluation.baselines import all_baselines
from fedrec.evaluation.heads import evaluate_heads
from fedrec.evaluation.protocol import Evaluation, evaluate, headline_of
from fedrec.simulation.watching import Watcher
from fedrec.training.workbench import Workbench

# Figures of fewer people say more about them than about the model.
_SMALLEST_GROUP = 20


def headline(found: Evaluation) -> dict[str, Any]:
    """The four metrics of `--json`."""
    return {name: estimate.as_json() for name, estimate in found.headline().items()}


def headlines(found: dict[str, Evaluation]) -> dict[str, Any]:
    """The four metrics of each part, validation and test where it was scored, and on how many people."""
    people = {part: len(each.users) for part, each in found.items()}
    return {part: headline(each) for part, each in found.items()} | {"people_scored": people}


def evaluations(workbench: Workbench, *, final: bool, watch: Watcher) -> dict[str, Evaluation]:
    """The model as it stands on the validation item, and on the test item if `final`."""

    def score(*, test: bool) -> Evaluation:
        return evaluate(
            workbench.scorer(),
            workbench.split,
            test=test,
            seed=workbench.scenario.seed,
            sample=workbench.scenario.evaluation.users,
            index_vectors=workbench.index.vectors,
            progress=lambda done, total: watch("evaluate", done, total),
        )

    return {"validation": score(test=False)} | ({"test": score(test=True)} if final else {})


def validation_headline(workbench: Workbench) -> dict[str, Any]:
    """The four metrics on the validation item, without what only a final figure needs."""
    scenario = workbench.scenario
    found = headline_of(
        workbench.scorer(), workbench.split, test=False, seed=scenario.seed, sample=scenario.evaluation.users
    )
    return {name: estimate.as_json() for name, estimate in found.items()}


def baseline_results(workbench: Workbench, *, final: bool, watch: Watcher) -> dict[str, Any]:
    """The scenario's baselines, tuned on validation."""
    names, sample = workbench.scenario.evaluation.baselines, workbench.scenario.evaluation.users
    vectors = np.concatenate([workbench.index.vectors, workbench.query_vectors])
    count = iter(range(len(names)))
    fitted = all_baselines(
        workbench.split,
        vectors,
        seed=workbench.scenario.seed,
        sample=sample,
        names=names,
        progress=lambda _: watch("baselines", next(count), len(names)),
    )
    watch("baselines", len(names), len(names))
    found: dict[str, Any] = {}
    for name, each in fitted.items():
        found[name] = {"validation": headline(each.validation), "choice": dict(each.choice)}
        if final:
            seed = workbench.scenario.seed
            tested = evaluate(each.scorer, workbench.split, test=True, seed=seed, sample=sample)
            found[name]["test"] = headline(tested)
    return found


def groups(found: Evaluation) -> dict[str, Any]:
    """NDCG@10 within groups of people or of items that are large enough to say so."""
    named = {group.name: group for group in (*found.by_activity, *found.by_item)}
    return {
        name: {"users": group.n, "ndcg@10": group.ndcg.as_json()}
        for name, group in named.items()
        if group.n >= _SMALLEST_GROUP
    }


def heads(workbench: Workbench, *, final: bool) -> dict[str, Any]:
    """Metrics of the heads beside next-item, on what they are trained for."""
    names = sorted(set(workbench.scenario.training.heads) - {"next_item"})
    found = {
        part: evaluate_heads(
            workbench.scorer(),
            workbench.split,
            heads=names,
            test=part == "test",
            seed=workbench.scenario.seed,
            sample=workbench.scenario.evaluation.users,
        )
        for part in (("validation", "test") if final else ("validation",))
        if names
    }
    return {part: {name: each.as_json() for name, each in metrics.items()} for part, metrics in found.items()}
