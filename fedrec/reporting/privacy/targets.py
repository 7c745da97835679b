"""Where a budget report may be written: nowhere that holds, or is kept for, a record of a run."""

import json
from collections.abc import Iterable
from pathlib import Path

from fedrec.errors import ConfigError

_SETTINGS = "config.toml"
_RECORDS = frozenset(
    {
        _SETTINGS,
        *("audit.json", "ledger.jsonl", "ledger.seal", "noise.bin", "noise.key", "pending.json", "prior.safetensors"),
        *("report.html", "result.json", "rounds.jsonl", "signing.key", "signing.pub", "state.safetensors"),
        *("clients", "releases", "twin"),
    }
)
# What every form of a report begins with, and no record of a run.
_BEGINNINGS = (b"<!DOCTYPE html>", b"# Privacy budget report: ")
_TITLE = b"<title>Privacy budget report: "


def require_targets(targets: Iterable[Path]) -> None:
    """Raise ConfigError unless each file can be written without loss: it is new, or an earlier report.

    All are looked at before anything is written.
    """
    known: dict[Path, Path] = {}
    for target in targets:
        if not target.name:
            raise ConfigError(f"{target} is a folder. Name a file, such as {target / 'privacy.html'}.")
        place = target.parent.resolve() / target.name
        if place in known:
            raise ConfigError(
                f"{known[place]} and {target} would overwrite each other or the JSON. Name them apart: .html, .md."
            )
        known[place] = target
        if _is_record(place):
            raise ConfigError(
                f"{target} is kept for a record of a run. Write the report beside it, under another name."
            )
        if place.exists() and not _is_report(place):
            raise ConfigError(f"{target} exists and is no earlier report. Choose another name, or move it away.")
        above = next(folder for folder in place.parents if folder.exists())
        if not above.is_dir():
            raise ConfigError(f"{target} cannot be written: {above} is a file. Name a folder.")


def _is_record(place: Path) -> bool:
    """Whether a name is a run's own: in its folder, or anywhere below its releases and clients."""
    if place.name in _RECORDS and (place.parent / _SETTINGS).exists():
        return True
    below = [folder for folder in place.parents if folder.name in ("clients", "releases")]
    return any((folder.parent / _SETTINGS).exists() for folder in below)


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
