"""What `flwr run --run-config` tells the apps: which scenario, on which data, written where."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedrec.config import Scenario
from fedrec.config_file import load_scenario
from fedrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The keys of `[tool.flwr.app.config]`; paths are absolute, as apps run in a folder of Flower's.

    overrides: settings of the scenario, `a.b=c d.e=f`, split as a shell would.
    """

    scenario_file: str
    data: str
    out: str
    overrides: tuple[str, ...]
    final: bool

    @classmethod
    def read(cls, config: Mapping[str, object]) -> "RunSettings":
        """Raises ConfigError where a path is missing or relative."""
        settings = cls(
            scenario_file=str(config["scenario"]),
            data=str(config["data"]),
            out=str(config["out"]),
            overrides=tuple(shlex.split(str(config["set"]))),
            final=bool(config["final"]),
        )
        for name, path in (("scenario", settings.scenario_file), ("data", settings.data), ("out", settings.out)):
            if not Path(path).is_absolute():
                raise ConfigError(f"--run-config {name}={path!r} must be an absolute path.")
        return settings

    def scenario(self) -> Scenario:
        """The scenario with its overrides."""
        return load_scenario(Path(self.scenario_file), self.overrides)
