"""On what a simulation rests: its data, its settings, the versions of what it ran with."""

import platform
from collections import Counter
from importlib.metadata import version
from typing import Any

from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import participations
from fedrec.runs.facts import config_text
from fedrec.simulation.availability import availability_of
from fedrec.simulation.patchy_engine import LATE, LOST
from fedrec.training.run_folder import RunFolder
from fedrec.training.workbench import Workbench

_PACKAGES = ("fedrec", "flwr", "torch", "transformers", "peft", "opacus", "dp-accounting", "numpy")


def who_was_there(workbench: Workbench, folder: RunFolder) -> dict[str, Any]:
    """How many clients could be drawn in each round, and how many ever were; empty where all always are there."""
    availability = availability_of(workbench)
    if availability is None:
        return {}
    rounds = folder.rounds()
    failures = Counter[str]()
    for record in rounds:
        failures.update(record["failures"])
    return {
        "availability": {
            "pattern": workbench.scenario.availability.pattern,
            "there": [len(availability.there(record["round"])) for record in rounds],
            LOST: failures[LOST] + failures["unreachable"],
            LATE: failures[LATE],
            "reached": len(participations(read_events(folder.ledger))) if workbench.plan else None,
        }
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
