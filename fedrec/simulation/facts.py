"""What a run says of itself: its state, its privacy, its data, its settings."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import tomli_w

from fedrec.privacy.ledger import ledger_head, read_events
from fedrec.privacy.statement import privacy_statement
from fedrec.reporting.privacy import words
from fedrec.training.aggregation import ServerState
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

_PACKAGES = ("fedrec", "flwr", "torch", "transformers", "peft", "opacus", "dp-accounting", "numpy")


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


def about(workbench: Workbench, *, command: str) -> dict[str, Any]:
    """On what a run rests: its data, settings and versions. command: what a reader types to do it again."""
    scenario, info = workbench.scenario, workbench.dataset.info
    data = scenario.data
    return {
        "name": scenario.name,
        "clients": len(workbench.members),
        "users": info.users,
        "items": info.items,
        "positives": f"kinds {', '.join(data.positive_kinds)}; least rating {data.min_rating or 'any'}",
        "dataset": {"name": info.name, "source": info.source, "licence": info.licence, "hash": info.hash},
        "command": command,
        "config": config_text(workbench),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
    }


def config_text(workbench: Workbench) -> str:
    """The settings of a run as its folder keeps them, with the hashes of what they were used on."""
    table = {
        "dataset_hash": workbench.dataset.info.hash,
        "layout": workbench.model.layout.hash,
        **_without_none(asdict(workbench.scenario)),
    }
    return tomli_w.dumps(table)


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
