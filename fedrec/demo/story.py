"""The whole story on a world of its own: devices and hubs, with and without privacy, side by side."""

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fedrec.config import Scenario
from fedrec.config_file import load_scenario
from fedrec.data.synthetic import WorldConfig, write_world
from fedrec.errors import ConfigError
from fedrec.reporting.run_report import write_run_report
from fedrec.reporting.summary import RunSummary
from fedrec.simulation.run import Request, simulate
from fedrec.simulation.watching import Watcher
from fedrec.training.run_folder import read_rounds

_MARK = ".fedrec-demo"
_USERS, _ITEMS, _SEED = 1000, 400, 1


@dataclass(frozen=True, slots=True)
class Story:
    """What the demo leaves behind."""

    runs: list[RunSummary]
    report: Path
    data: Path


def scenarios() -> list[Scenario]:
    """The demo's scenarios, in the order they are told."""
    folder = resources.files("fedrec.demo")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    with resources.as_file(folder) as path:
        return [load_scenario(path / name) for name in names]


def tell(out: Path, *, watch: Watcher) -> Story:
    """Make the world, run every scenario, write one report; an earlier demo in `out` is replaced.

    Raises ConfigError if `out` holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
        raise ConfigError(f"{out} is not empty and holds no earlier demo. Choose another --out.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()
    data = out / "world"
    write_world(data, users=_USERS, items=_ITEMS, seed=_SEED, config=WorldConfig(events_per_user=40.0))
    runs: list[RunSummary] = []
    baselines: dict[str, Any] = {}
    for number, scenario in enumerate(scenarios(), start=1):
        folder = out / f"run-{number}"
        request = Request(scenario=scenario, data=data, out=folder, command="fedrec demo")
        result = simulate(request, watch=watch)
        # The split is the same for all, so the baselines are fitted once.
        baselines = result["baselines"] = baselines or result["baselines"]
        runs.append(RunSummary.build(result, read_rounds(folder)))
    report = out / "report.html"
    write_run_report(report, runs, title="fedrec demo: devices and hubs, with and without privacy")
    return Story(runs, report, data)
