"""Made-up but plausible runs: 943 people, 1,682 films, a plain, a private and a seeded run."""

from collections.abc import Callable
from typing import Any

import pytest

from fedrec.reporting.summary import RunSummary

Json = dict[str, Any]

CONFIG = """\
[model]
encoder = "all-MiniLM-L6-v2"
lora_rank = 64

[training]
rounds = 10
clip_norm = 0.5

[privacy]
mode = "central"
noise_multiplier = 4.1
participation_cap = 10
"""


def metric(value: float) -> Json:
    return {"value": value, "low": value - 0.0071, "high": value + 0.0074}


def measured(ndcg: float) -> Json:
    return {
        "ndcg@10": metric(ndcg),
        "hr@10": metric(ndcg * 1.92),
        "recall@20": metric(ndcg * 2.95),
        "mrr": metric(ndcg * 0.86),
    }


def baselines() -> Json:
    values = {
        "popularity": (0.0463, 0.0448),
        "item_knn": (0.0572, 0.0561),
        "ease": (0.0621, 0.0604),
        "zero_shot_text": (0.0389, 0.0402),
        "zero_shot_popularity": (0.0668, 0.0709),
        "non_private_twin": (0.0752, 0.0781),
    }
    return {
        name: {"validation": measured(validation), "test": measured(test)}
        for name, (validation, test) in values.items()
    }


def privacy(mode: str = "central", unit: str = "USER", **over: Any) -> Json:
    if mode == "none":
        return {"mode": "none", "unit": unit, "epsilon": None, "delta": None, "guarantee": False}
    return {
        "mode": mode,
        "unit": unit,
        "adjacency": "zero-out",
        "epsilon": 7.96,
        "epsilon_replace_one": 20.14,
        "delta": 1e-6,
        "accountant": "dp-accounting 0.6.0 PLD",
        "sampling": "known participation, at most 10 rounds per person, no amplification",
        "participations": 10,
        "budget": 8.0,
        "guarantee": True,
        **over,
    }


def result(name: str = "central-eps8", *, ndcg: float = 0.0721, **over: Any) -> Json:
    return {
        "run": f"runs/{name}",
        "name": name,
        "rounds": 10,
        "shared_parameters": 24576,
        "adapter_norm": 0.7713,
        "bytes_per_client_round": 98304,
        "seconds": 73.4,
        "clients": 943,
        "users": 943,
        "items": 1682,
        "scenario": "simulations/recipes/central.toml",
        "command": f"fedrec simulate simulations/recipes/central.toml --final --out runs/{name}",
        "ledger_head": "9f2b41d07c6a1f6d3a04a0d1e3c9c1f58be3f7f2ab9d6f5d7a0c3c55f1f9e2d4",
        "dataset": {"name": "ml-100k", "source": "grouplens.org", "licence": "research only", "hash": "4f7c2a90b1"},
        "positives": "every rating, as “chose it”",
        "config": CONFIG,
        "versions": {"python": "3.11.9", "torch": "2.13.0", "opacus": "1.6.0", "flwr": "1.41.0", "fedrec": "0.1.0"},
        "groups": {
            "least active quarter": {"users": 236, "ndcg@10": metric(0.081)},
            "most active quarter": {"users": 235, "ndcg@10": metric(0.058)},
            "hot items": {"users": 640, "ndcg@10": metric(0.096)},
            "cold items": {"users": 303, "ndcg@10": metric(0.021)},
        },
        "validation": measured(ndcg),
        "test": measured(ndcg + 0.002),
        "baselines": baselines(),
        "privacy": privacy(),
        **over,
    }


def rounds(last: float = 0.0721, *, epsilon: float | None = 7.96, count: int = 10) -> list[Json]:
    return [
        {
            "round": number,
            "asked": 943,
            "replies": 943 - (number % 3),
            "failures": {"late": number % 3} if number % 3 else {},
            "update_norm": 0.32 / number,
            "seconds": 7.1 + 0.1 * number,
            "epsilon": None if epsilon is None else epsilon * (number / count) ** 0.6,
            "validation": {"ndcg@10": metric(0.0668 + (last - 0.0668) * (1 - (1 - number / count) ** 2))},
        }
        for number in range(1, count + 1)
    ]


@pytest.fixture
def make_result() -> Callable[..., Json]:
    return result


@pytest.fixture
def make_privacy() -> Callable[..., Json]:
    return privacy


@pytest.fixture
def private_run() -> RunSummary:
    return RunSummary.build(result(), rounds())


@pytest.fixture
def plain_run() -> RunSummary:
    plain = result("plain", ndcg=0.0803, privacy=privacy("none"))
    return RunSummary.build(plain, rounds(0.0803, epsilon=None))


@pytest.fixture
def seeded_run() -> RunSummary:
    seeded = result("central-seeded", ndcg=0.0714, privacy=privacy(guarantee=False, epsilon=2.99, budget=8.0))
    return RunSummary.build(seeded, rounds(0.0714, epsilon=2.99))
