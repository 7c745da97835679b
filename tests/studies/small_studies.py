"""Small studies: a world of few people, runs of two rounds."""

from pathlib import Path
from typing import Any

import tomli_w

SCENARIO: dict[str, Any] = {
    "adapter": {"ranks": {"history_proj": 8}},
    "federation": {"rounds": 2, "cohort": 8, "server_optimizer": "momentum", "server_rate": 1.0},
    "privacy": {"mode": "central", "noise_multiplier": 4.0, "participations": 2},
}


def a_study(folder: Path, **tables: Any) -> Path:
    """A study file in `folder`; `study` is laid over two seeds, another table is put in place of its own."""
    found: dict[str, Any] = {
        "study": {"seeds": [1, 2], "engine": "cohort"} | tables.pop("study", {}),
        "scenario": SCENARIO,
        "world": {"users": 36, "items": 60, "seed": 8},
        "grid": {"privacy": {"noise_multiplier": [4.0, 8.0]}},
    }
    found |= tables
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps({name: table for name, table in found.items() if table is not None}))
    return path
