"""Small studies: a world of few people, runs of two rounds, and runs whose results are made up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from fedrec.studies.outcome import Outcome
from fedrec.studies.proposing import settings_of
from fedrec.studies.running import StudyFolder
from fedrec.studies.study import Settings, Study
from fedrec.studies.trial import Trial

SCENARIO: dict[str, Any] = {
    "adapter": {"ranks": {"history_proj": 8}},
    "federation": {"rounds": 2, "cohort": 8, "server_optimizer": "momentum", "server_rate": 1.0},
    "privacy": {"mode": "central", "noise_multiplier": 4.0, "participations": 2},
}
WORLD = {"users": 36, "items": 60, "seed": 8}


def a_study(folder: Path, **tables: Any) -> Path:
    """A study file in `folder`; `study` is laid over two seeds, another table is put in place of its own."""
    found: dict[str, Any] = {
        "study": {"seeds": [1, 2], "engine": "cohort"} | tables.pop("study", {}),
        "scenario": SCENARIO,
        "world": WORLD,
        "grid": {"privacy": {"noise_multiplier": [4.0, 8.0]}},
    }
    found |= tables
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps({name: table for name, table in found.items() if table is not None}))
    return path


def a_result(trial: Trial, *, ndcg: float = 0.1, **over: Any) -> dict[str, Any]:
    """What a run could have printed: epsilon falls with its noise."""
    scenario = trial.scenario
    assert scenario is not None
    private = scenario.privacy.mode != "none"
    metric = {"value": ndcg, "low": ndcg - 0.02, "high": ndcg + 0.03}
    return {
        "rounds": scenario.federation.rounds,
        "bytes_per_client_round": 8 * 384 * sum(scenario.adapter.ranks.values()),
        "seconds": 1.5,
        "users": 36,
        "items": 60,
        "people_scored": {"validation": 36},
        "dataset": {"hash": "4f7c"},
        "validation": dict.fromkeys(("ndcg@10", "hr@10", "recall@20", "mrr"), metric),
        "privacy": {
            "mode": scenario.privacy.mode,
            "unit": "USER" if private else None,
            "epsilon": 8.0 / scenario.privacy.noise_multiplier if private else None,
            "delta": 1e-6 if private else None,
            "guarantee": private,
        },
        **over,
    }


def made_up(study: Study, folder: Path, result_of: Callable[[Trial], dict[str, Any] | None]) -> list[Trial]:
    """The runs of a grid with made-up results in their folders; None leaves a run out."""
    trials = StudyFolder(folder, study).trials(settings_of(study), "search")
    for trial in trials:
        if result := result_of(trial):
            trial.out.mkdir(parents=True)
            (trial.out / "result.json").write_text(json.dumps(result))
    return trials


def an_outcome(
    settings: Settings | None = None,
    *,
    ndcg: Sequence[float] = (0.1, 0.12),
    epsilon: float | None = 2.0,
    **over: Any,
) -> Outcome:
    """A setting with made-up runs, one per figure."""
    run = {
        "mode": "none" if epsilon is None else "central",
        "unit": None if epsilon is None else "USER",
        "epsilon": epsilon,
        "delta": None if epsilon is None else 1e-6,
        "guarantee": epsilon is not None,
        "population": 1000,
        "rounds": 4,
        "bytes_per_client_round": 50_000,
        "seconds": 2.0,
        "people_scored": 990,
        **over,
    }
    runs = tuple(
        run | {"seed": seed, "ndcg@10": value, "ndcg@10_low": value - 0.02, "ndcg@10_high": value + 0.03}
        for seed, value in enumerate(ndcg)
    )
    return Outcome(study="made up", setting="s", part="search", settings=settings or {}, runs=runs)
