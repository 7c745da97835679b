"""Adding a catalogue to a service: its public items and the scenario that its rounds follow; nobody's events."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedrec.config_file import load_scenario
from fedrec.errors import DataError
from fedrec.files import sync_folder, write_atomically
from fedrec.service.folder import CatalogueFolder, ServiceFolder
from fedrec.service.served import require_served

_ITEMS, _ABOUT = "catalogue.parquet", "dataset.json"


def add_catalogue(folder: ServiceFolder, name: str, *, dataset: Path, scenario: Path) -> CatalogueFolder:
    """The service serves this catalogue from its next start on, with a run, a ledger and a budget of its own.

    dataset: a dataset folder, of which the public part is copied; its events, if it has any, are not.
    Raises ConfigError for a scenario that only a simulation can run, DataError for a folder without a catalogue.
    """
    made = folder.catalogue(name)
    if made.path.exists():
        raise DataError(f"{made.path} exists already: its ledger goes on. Choose another name with --as.")
    require_served(load_scenario(scenario))
    about = _about(dataset)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.catalogues))
    try:
        shutil.copyfile(dataset / _ITEMS, draft / _ITEMS)
        write_atomically(draft / _ABOUT, _public(about, draft / _ITEMS))
        # Last: what has a scenario is served.
        write_atomically(draft / "scenario.toml", scenario.read_bytes())
        draft.rename(made.path)
        sync_folder(folder.catalogues)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made


def _about(dataset: Path) -> Mapping[str, Any]:
    if not (dataset / _ITEMS).is_file():
        raise DataError(f"{dataset} has no {_ITEMS}. Make a dataset folder with `fedrec data import`.")
    try:
        about = json.loads((dataset / _ABOUT).read_bytes())
        return {key: about[key] for key in ("name", "source", "licence", "importer", "items")}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{dataset / _ABOUT} cannot be read. Import the data again.") from None


def _public(about: Mapping[str, Any], items: Path) -> bytes:
    """What `dataset.json` says of a catalogue alone: no people, no events, and the hash of its items."""
    with items.open("rb") as file:
        # The hash over the hashes of a data set's files, which are one here: see fedrec/data/dataset.py.
        digest = hashlib.sha256(hashlib.file_digest(file, "sha256").digest()).hexdigest()
    return (json.dumps({**about, "users": 0, "events": 0, "hash": digest}, indent=2) + "\n").encode()
