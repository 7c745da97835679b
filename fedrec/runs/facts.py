"""What a run says of itself, be it simulated or served: its state, its privacy, its settings."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import tomli_w

from fedrec.privacy.ledger import ledger_head, read_events
from fedrec.privacy.statement import privacy_statement
from fedrec.reporting.privacy import words
from fedrec.training.aggregation import ServerState
from fedrec.training.foundation import Foundation
from fedrec.training.run_folder import RunFolder


def run_facts(foundation: Foundation, folder: RunFolder, state: ServerState) -> dict[str, Any]:
    """What a run's state can say of itself without scoring anything."""
    scenario = foundation.scenario
    size = foundation.model.layout.size
    privacy = privacy_statement(
        foundation.plan, read_events(folder.ledger), system_noise=scenario.privacy.noise == "system"
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


def config_text(foundation: Foundation) -> str:
    """The settings of a run as its folder keeps them, with the hashes of what they were used on."""
    table = {
        "dataset_hash": foundation.dataset.info.hash,
        "layout": foundation.model.layout.hash,
        **_without_none(asdict(foundation.scenario)),
    }
    return tomli_w.dumps(table)


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
