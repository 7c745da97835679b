"""Typed access to a TOML table that names the nearest key when one is unknown or missing."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from fedrec.errors import ConfigError

T = TypeVar("T", bound=str)


class Settings:
    """One TOML table; every key that is asked for is known, `finish` refuses the others."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self._where = where
        self._known: set[str] = set()

    def error(self, key: str, fault: str) -> ConfigError:
        """An error that names the file, the table and the key."""
        return ConfigError(f"{self._where}: `{key}` {fault}" + ("" if fault.endswith("?") else "."))

    def finish(self) -> None:
        """Raise ConfigError if the table has a key that nobody asked for."""
        for key in self._values:
            if key not in self._known:
                nearest = difflib.get_close_matches(key, sorted(self._known), n=1, cutoff=0)
                raise self.error(key, f"is unknown. Did you mean `{nearest[0]}`?" if nearest else "is unknown")

    def is_text(self, key: str) -> bool:
        """Whether the key holds a string."""
        self._known.add(key)
        return isinstance(self._values.get(key), str)

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string; required unless there is a default."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        return value

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """A string or a list of strings, as a tuple; required as asked."""
        value = self._get(key, None if required else [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self.error(key, "must be a string or a list of strings")
        return tuple(value)

    def words(self, key: str) -> dict[str, str]:
        """A table of strings, empty when absent."""
        value = self._get(key, {})
        if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
            raise self.error(key, "must be a table of strings")
        return dict(value)

    def choice(self, key: str, options: tuple[T, ...], *, default: T | None = None) -> T:
        """One of some strings."""
        value = self.text(key, default=default)
        if value not in options:
            raise self.error(key, f"must be one of {', '.join(options)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def interval(self, key: str) -> tuple[float, float] | None:
        """Two numbers, the smaller first; None when absent."""
        value = self._get(key, [])
        if value == []:
            return None
        numbers = isinstance(value, list) and all(type(entry) in (int, float) for entry in value)
        if not numbers or len(value) != 2 or not value[0] <= value[1]:
            raise self.error(key, "must be two numbers, the smaller first")
        return float(value[0]), float(value[1])

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._known.add(key)
        return key in self._values

    def table(self, key: str) -> "Settings":
        """A table within this one."""
        value = self._get(key, None)
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return Settings(value, f"{self._where} [{key}]")

    def tables(self, key: str) -> list["Settings"]:
        """One or more tables, written `[[key]]`."""
        value = self._get(key, None)
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, f"must be tables, written `[[{key}]]`")
        return [Settings(entry, f"{self._where} [[{key}]]") for entry in value]

    def _get(self, key: str, default: Any) -> Any:
        self._known.add(key)
        value = self._values.get(key, default)
        if value is None:
            near = difflib.get_close_matches(key, list(self._values), n=1)
            raise self.error(key, f"is missing. Did you mean it by `{near[0]}`?" if near else "is missing")
        return value
