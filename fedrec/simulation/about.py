"""On what a simulation rests: its data, its settings, the versions of what it ran with."""

import platform
from importlib.metadata import version
from typing import Any

from fedrec.runs.facts import config_text
from fedrec.training.workbench import Workbench

_PACKAGES = ("fedrec", "flwr", "torch", "transformers", "peft", "opacus", "dp-accounting", "numpy")


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
