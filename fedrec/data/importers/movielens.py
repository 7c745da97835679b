"""Imports MovieLens: finds out from the files which of its three shapes a folder has."""

from collections.abc import Mapping
from pathlib import Path

from fedrec.data.dataset import DatasetInfo
from fedrec.data.importers.mapping import TableMapping
from fedrec.data.importers.mapping_file import shipped_mapping
from fedrec.data.importers.table import Progress, import_table
from fedrec.errors import DataError

_SHAPES: Mapping[str, tuple[str, str]] = {
    "movielens-latest": ("ratings.csv", "movies.csv"),
    "movielens-1m": ("ratings.dat", "movies.dat"),
    "movielens-100k": ("u.data", "u.item"),
}


def detect_movielens(folder: Path) -> TableMapping:
    """The mapping for the files that are there; raises DataError if no shape is complete."""
    if not folder.exists():
        raise DataError(f"{folder} does not exist. Check the path.")
    for name, files in _SHAPES.items():
        if all((folder / file).is_file() for file in files):
            return shipped_mapping(name)
    shapes = "; ".join(" and ".join(files) for files in _SHAPES.values())
    raise DataError(f"{folder} is not a MovieLens folder. It must hold one of: {shapes}.")


def import_movielens(
    folder: Path, *, out: Path, user_key: Path | None = None, progress: Progress = lambda _: None
) -> DatasetInfo:
    """Write the dataset folder `out` from MovieLens 100K, 1M, 10M, 20M, 25M, 32M or latest."""
    return import_table(folder, mapping=detect_movielens(folder), out=out, user_key=user_key, progress=progress)
