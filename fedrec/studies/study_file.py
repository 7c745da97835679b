"""Reading a study from TOML: every setting known, every value sound, or one clear line before the first run."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedrec.config_file import parse_scenario, parse_table
from fedrec.errors import ConfigError
from fedrec.studies.study import Proxy, Range, Study, StudyConfig, World

_TABLES = ("study", "scenario", "grid", "search", "world", "proxy")
# Ruled out before they are counted: a slip of the pen, not a study.
_MOST_RUNS = 10_000


def is_study(path: Path) -> bool:
    """Whether a TOML file has a `[study]` table; what cannot be read is left to whoever reads it as a scenario."""
    try:
        return "study" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


def load_study(path: Path, *, data: Path | None = None, overrides: Sequence[str] = ()) -> Study:
    """Read a study; `data` wins over the scenario's own, `overrides` change the scenario.

    Paths in the file are relative to it. Raises ConfigError with one line that says what is wrong and what to do.
    """
    table = _read(path)
    for name in table:
        if name not in _TABLES:
            raise ConfigError(f"Unknown table `{name}` of a study. Known: {', '.join(_TABLES)}.")
    given = parse_table(StudyConfig, {"name": path.stem} | _table(table, "study"), "study.")
    world = parse_table(World, table["world"], "world.") if "world" in table else None
    proxy = parse_table(Proxy, _beside(path, table["proxy"]), "proxy.") if "proxy" in table else None
    scenario = _scenario(path, table.get("scenario"))
    parse_scenario(scenario, overrides)
    return Study(
        config=given,
        scenario=scenario,
        choices=_choices(given, table),
        data=_data(scenario, data, world),
        world=world,
        proxy=proxy,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. The study names it; paths are relative to its file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"`{name}` is a table, not {found!r}.")
    return found


def _beside(path: Path, proxy: Any) -> Any:
    if isinstance(proxy, dict) and isinstance(proxy.get("path"), str) and proxy["path"]:
        return proxy | {"path": str(path.parent / proxy["path"])}
    return proxy if isinstance(proxy, dict) else {"path": proxy}


def _scenario(path: Path, given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        found = _read(path.parent / given)
    elif isinstance(given, dict):
        found = given
    else:
        raise ConfigError('A study needs a scenario: `scenario = "FILE.toml"` above all tables, or [scenario] tables.')
    found.setdefault("name", path.stem)
    return found


def _data(scenario: Mapping[str, Any], data: Path | None, world: World | None) -> str:
    if world and data:
        raise ConfigError("The study makes its own data by [world]. Leave --data out, or [world].")
    if world:
        return ""
    found = str(data or scenario.get("data", {}).get("path", ""))
    if not found:
        raise ConfigError("No data: give --data DIR, set data.path in the scenario, or add a [world] table.")
    return found


def _choices(config: StudyConfig, table: Mapping[str, Any]) -> dict[str, tuple[Any, ...] | Range]:
    wanted, other = ("grid", "search") if config.how == "grid" else ("search", "grid")
    if other in table:
        raise ConfigError(
            f'study.how = "{config.how}" reads [{wanted}], not [{other}]. Rename it, or change study.how.'
        )
    found = dict(_leaves(_table(table, wanted)))
    if not found:
        raise ConfigError(f"[{wanted}] is empty: nothing would be tried. Try federation.rounds = [4, 8].")
    choices = {name: _choice(name, value, config) for name, value in found.items()}
    runs = len(config.seeds) * (1 if config.how == "grid" else config.trials)
    for values in choices.values():
        runs *= 1 if isinstance(values, Range) or config.how != "grid" else len(values)
    if runs > _MOST_RUNS:
        raise ConfigError(
            f"The study has {runs} runs; the most is {_MOST_RUNS}. Shorten its lists, or lower study.trials."
        )
    return choices


def _leaves(table: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names with what stands there: lists, and tables that say a range."""
    for key, value in table.items():
        if isinstance(value, dict) and not {"low", "high"} & set(value):
            yield from _leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def _choice(name: str, value: Any, config: StudyConfig) -> tuple[Any, ...] | Range:
    if isinstance(value, dict):
        if config.how == "grid":
            raise ConfigError(f'`{name}` is a range, which a grid cannot count. Give a list, or study.how = "random".')
        whole = isinstance(value.get("low"), int) and isinstance(value.get("high"), int)
        return parse_table(Range, {"whole": whole} | value, f"{name}.")
    if not isinstance(value, list) or not value:
        raise ConfigError(f"`{name}` is {value!r}. Give a list of one value or more.")
    if any(each in value[:place] for place, each in enumerate(value)):
        raise ConfigError(f"`{name}` names a value twice. Name each once.")
    return tuple(value)
