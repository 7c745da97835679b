"""Reading a scenario from TOML: every key known, every value of its type, or one clear line."""

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fedrec.config import Scenario
from fedrec.errors import ConfigError

_T = TypeVar("_T")


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario; `overrides` are `a.b=c` with c in TOML (a bare word is a string).

    Raises ConfigError with one line that says what is wrong and what to do.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. Scenarios are in simulations/.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    table.setdefault("name", path.stem)
    scenario = parse_scenario(table, overrides)
    _refuse_unmasked(scenario, table)
    return scenario


def read_run_config(run: Path) -> tuple[Scenario, dict[str, str]]:
    """The scenario of a run folder, and the hashes of the data and of the adapter's layout beside it.

    Raises ConfigError if it is no run folder, or its settings are damaged.
    """
    path = run / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        hashes = {name: str(table.pop(name)) for name in ("dataset_hash", "layout")}
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{run} is not a run folder (no config.toml). Make one with `fedrec simulate`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Restore it from a copy, or start the run again.") from None
    return parse_scenario(table), hashes


def parse_scenario(table: dict[str, Any], overrides: Sequence[str] = ()) -> Scenario:
    """Build a scenario from a TOML table."""
    for override in overrides:
        _override(table, override)
    return parse_table(Scenario, table)


def _refuse_unmasked(scenario: Scenario, table: dict[str, Any]) -> None:
    """Raise ConfigError where a scenario asks for `distributed` mode without masks; a run's own settings name each."""
    asked = table.get("secure_aggregation", {})
    if scenario.privacy.mode == "distributed" and asked.get("enabled") is False:
        raise ConfigError(
            'secure_aggregation.enabled is false, and privacy.mode = "distributed" always has masks. Leave it out.'
        )


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`--set {override}` is not of the form a.b=value.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"`--set {override}`: {parent} is not a table.")
    table[leaf] = value


def parse_table(kind: type[_T], table: Mapping[str, Any], where: str = "") -> _T:
    """Build one concern from its table; raises ConfigError naming the setting that is wrong."""
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            advice = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(f"Unknown setting `{where}{key}`. {advice}")
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name not in table and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"`{where}{entry.name}` is missing. Give it a value.")
    return kind(**{key: _convert(value, hints[key], f"{where}{key}") for key, value in table.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"`{where}` is a table, not {value!r}.")
        return parse_table(hint, value, f"{where}.")
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ConfigError(f"`{where}` is {value!r}. Choose from {', '.join(map(repr, get_args(hint)))}.")
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return None if value is None else _convert(value, inner, where)
    if origin in (tuple, dict) and isinstance(value, list if origin is tuple else dict):
        return _convert_entries(value, get_args(hint), where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, where)
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    raise ConfigError(f"`{where}` is {value!r}; expected {getattr(hint, '__name__', hint)}.")


def _float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"`{where}` is a number too large to compute with.") from None


def _convert_entries(value: Any, args: tuple[Any, ...], where: str) -> Any:
    if isinstance(value, list):
        return tuple(_convert(entry, args[0], where) for entry in value)
    return {key: _convert(entry, args[1], f"{where}.{key}") for key, entry in value.items()}
