"""A study: one scenario under many settings and seeds. One frozen dataclass per concern."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from fedrec.config import Scenario
from fedrec.config_file import parse_scenario
from fedrec.errors import ConfigError

# Dotted names of settings with their values, such as {"federation.rounds": 8}.
Settings = Mapping[str, Any]
WORLD = ("world.users", "world.items")
_OWN = {"seed": "study.seeds", "name": "study.name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """How settings are tried.

    trials: how many settings `random` and `optuna` try. seeds: every setting runs once with each.
    objective: of the validation item, whose mean over seeds chooses. processes: runs at a time; where they are more
    than one, each has one thread. devices: torch devices that the processes share out, such as one for each GPU.
    seed: of the search itself.
    """

    name: str = ""
    how: Literal["grid", "random", "optuna"] = "grid"
    trials: int = 20
    seeds: tuple[int, ...] = (0, 1, 2)
    objective: Literal["ndcg@10", "hr@10", "recall@20", "mrr"] = "ndcg@10"
    engine: Literal["flower", "reference", "cohort"] = "cohort"
    processes: int = 1
    devices: tuple[str, ...] = ("cpu",)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("trials", self.trials), ("processes", self.processes)):
            if value < 1:
                raise ConfigError(f"study.{name} is {value}. Choose 1 or more.")
        if not self.devices or (self.engine != "cohort" and self.devices != ("cpu",)):
            raise ConfigError(
                f'study.devices are {list(self.devices)}. Give one or more; only study.engine = "cohort" computes on '
                "others than cpu."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min((*self.seeds, self.seed)) < 0:
            raise ConfigError(f"study.seeds are {list(self.seeds)}. Give one or more, each once, 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A synthetic data set, as `fedrec data synth` makes it."""

    users: int = 1000
    items: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.items < 1 or self.seed < 0:
            raise ConfigError(f"A world of {self.users} users and {self.items} items cannot be made. Choose 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Public data that settings are chosen on: a dataset folder, or a world where `users` is over 0."""

    path: str = ""
    users: int = 0
    items: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.users):
            raise ConfigError("[proxy] is a dataset folder or a synthetic world. Give either path or users.")

    @property
    def world(self) -> World | None:
        """The world that it is, if it is one."""
        return World(users=self.users, items=self.items, seed=self.seed) if self.users else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; `log` spreads them by their size."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"The range from {self.low} to {self.high} holds no numbers. Give low under high.")
        if self.log and self.low <= 0:
            raise ConfigError(f"A range with log = true starts over 0, not at {self.low}. Raise low.")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ConfigError(f"The range from {self.low} to {self.high} is of whole numbers. Let it end at such.")

    @property
    def ends(self) -> tuple[float, float]:
        """What is tried before a search starts."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its file says it.

    scenario: the table of the scenario. choices: by setting the values that it may take; ranges for a search only.
    data: the dataset folder, empty where `world` is made. proxy: where settings are chosen, if not on the data.
    """

    config: StudyConfig
    scenario: Mapping[str, Any]
    choices: Mapping[str, tuple[Any, ...] | Range]
    data: str = ""
    world: World | None = None
    proxy: Proxy | None = field(default=None)

    def __post_init__(self) -> None:
        for name in self.choices:
            if name in _OWN:
                raise ConfigError(f"`{name}` is not a setting to try. It is `{_OWN[name]}`.")
            if name.startswith("world.") and name not in WORLD:
                raise ConfigError(f"Unknown setting `{name}`. Known: {', '.join(WORLD)}.")
            if name in WORLD and (self.world is None or self.proxy):
                raise ConfigError(f"`{name}` varies the data, which needs a [world] table and no [proxy].")
        for settings in self.to_check():
            self.scenario_of(settings, seed=self.config.seeds[0], name="trial")
            self.world_of(settings)

    def to_check(self) -> Iterator[Settings]:
        """Settings whose faults are all that a run would meet: a whole grid, or each value of a search by itself."""
        lists = {name: each.ends if isinstance(each, Range) else each for name, each in self.choices.items()}
        if self.config.how == "grid":
            return (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))
        # Alone beside the scenario's own values: two that fit nowhere together are found when they are drawn.
        return ({name: value} for name, values in lists.items() for value in values)

    def scenario_of(self, settings: Settings, *, seed: int, name: str) -> Scenario:
        """The scenario of one run: settings in their places, no baselines and no twin, one release at its end."""
        table = copy.deepcopy(dict(self.scenario))
        for key, value in settings.items():
            if key not in WORLD:
                _place(table, key, copy.deepcopy(value))
        table |= {"seed": seed, "name": name}
        # A run is named by what its data are, not by where they lie.
        table["data"] = {**table.get("data", {}), "path": ""}
        table["evaluation"] = {**table.get("evaluation", {}), "baselines": [], "non_private_twin": False}
        rounds = parse_scenario(copy.deepcopy(table)).federation.rounds
        table["federation"] = {**table.get("federation", {}), "release_every": rounds}
        return parse_scenario(table)

    def world_of(self, settings: Settings) -> World | None:
        """The world of one run; None where the data are a folder."""
        if self.world is None:
            return None
        users, items = (settings.get(name) for name in WORLD)
        for value in (users, items):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigError(f"{' and '.join(WORLD)} are whole numbers, not {value!r}.")
        return World(
            users=self.world.users if users is None else users,
            items=self.world.items if items is None else items,
            seed=self.world.seed,
        )


def _place(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"`{key}`: {parent} is not a table.")
    table[leaf] = value
