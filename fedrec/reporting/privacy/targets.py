"""Where a budget report may be written: nowhere that is kept for the records of a run, and over nothing else."""

import json
from collections.abc import Iterable
from pathlib import Path

from fedrec.errors import ConfigError

JSON, PAGE, MARKDOWN = "privacy.json", "privacy.html", "privacy.md"
_SETTINGS = "config.toml"
# What every form of a report begins with.
_BEGINNINGS = (b"<!DOCTYPE html>", b"# Privacy budget report: ")
_TITLE = b"<title>Privacy budget report: "


def require_targets(folder: Path, names: Iterable[str]) -> None:
    """Raise ConfigError unless a report of these names can be written into a folder without loss.

    Every name is free there or an earlier report, and the folder is no part of a run's records.
    """
    place = folder.resolve()
    for above in (place, *place.parents):
        if above.name in ("clients", "releases") and (above.parent / _SETTINGS).exists():
            raise ConfigError(f"{folder} is kept for records of a run. Write the report beside them: --out FOLDER.")
    existing = next(each for each in (place, *place.parents) if each.exists())
    if not existing.is_dir():
        raise ConfigError(f"{folder} cannot be written into: {existing} is a file. Name a folder: --out FOLDER.")
    for target in (folder / name for name in names):
        if (target.exists() or target.is_symlink()) and not _is_report(target):
            raise ConfigError(f"{target} exists and is no earlier report. Move it away, or name another --out FOLDER.")


def _is_report(place: Path) -> bool:
    try:
        content = place.read_bytes() if place.is_file() else b""
    except OSError:
        return False
    if content.startswith(_BEGINNINGS):
        return content.startswith(_BEGINNINGS[1]) or _TITLE in content
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("format", "")).startswith("fedrec privacy report")
