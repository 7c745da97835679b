"""The one table of a study: a row per run, in Parquet."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from fedrec.errors import DataError
from fedrec.studies.study import Study
from fedrec.studies.trial import Trial

TABLE = "results.parquet"
METRICS = ("ndcg@10", "hr@10", "recall@20", "mrr")
# Columns of every table, in this order; the settings of the scenario follow by their dotted names.
COLUMNS: Mapping[str, pl.DataType] = {
    "study": pl.String(),
    "run": pl.String(),
    "setting": pl.String(),
    "tried": pl.String(),
    "part": pl.String(),
    "seed": pl.Int64(),
    "engine": pl.String(),
    "failure": pl.String(),
    **{f"{metric}{end}": pl.Float64() for metric in METRICS for end in ("", "_low", "_high")},
    "people_scored": pl.Int64(),
    "mode": pl.String(),
    "unit": pl.String(),
    "epsilon": pl.Float64(),
    "delta": pl.Float64(),
    "guarantee": pl.Boolean(),
    "population": pl.Int64(),
    "items": pl.Int64(),
    "dataset_hash": pl.String(),
    "rounds": pl.Int64(),
    "bytes_per_client_round": pl.Int64(),
    "seconds": pl.Float64(),
}


def write_table(path: Path, study: Study, trials: Sequence[Trial]) -> pl.DataFrame:
    """Write the table of a study's runs, whole or not at all; returns it."""
    # Two drawn settings may be one run.
    rows = [_row(study, trial) for trial in {trial.out: trial for trial in trials}.values()]
    names = sorted({name for row in rows for name in row} - set(COLUMNS))
    types = {name: _type([row.get(name) for row in rows]) for name in names}
    table = pl.DataFrame(
        {name: [_cell(row.get(name), kind) for row in rows] for name, kind in {**COLUMNS, **types}.items()},
        schema={**COLUMNS, **types},
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    table.write_parquet(draft)
    draft.replace(path)
    return table


def read_table(folder: Path) -> pl.DataFrame:
    """The table of a study's folder. Raises DataError where there is none that can be read."""
    path = folder / TABLE
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{folder} holds no {TABLE}. Make one with `fedrec simulate STUDY.toml`.") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}). Run the study again to write it.") from None
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]}. Run the study again to write it.")
    return table


def _row(study: Study, trial: Trial) -> dict[str, Any]:
    about = {
        "study": study.config.name,
        "run": trial.out.name,
        "setting": trial.setting,
        "tried": json.dumps(trial.settings),
        "part": trial.part,
        "seed": trial.seed,
        "engine": trial.engine,
    }
    scenario = dict(_flat(asdict(trial.scenario))) if trial.scenario else {}
    settings = {name: value for name, value in scenario.items() if name not in ("name", "seed", "data.path")}
    result = trial.result
    if result is None:
        return settings | about | {"failure": trial.failure or "not run to its end"}
    return settings | about | _measured(result)


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    privacy = result["privacy"]
    found: dict[str, Any] = {name: privacy[name] for name in ("mode", "unit", "epsilon", "delta", "guarantee")}
    for metric in METRICS:
        for name, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            found[f"{metric}{end}"] = result["validation"][metric][name]
    return found | {
        "people_scored": result["people_scored"]["validation"],
        "population": result["users"],
        "items": result["items"],
        "dataset_hash": result["dataset"]["hash"],
        **{name: result[name] for name in ("rounds", "bytes_per_client_round", "seconds")},
    }


def _flat(table: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value


def _type(values: Sequence[Any]) -> pl.DataType:
    """The narrowest type that holds a setting's values; lists are texts in JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Boolean()
    if kinds == {int}:
        return pl.Int64()
    if kinds and kinds <= {int, float}:
        return pl.Float64()
    return pl.String()


def _cell(value: Any, kind: pl.DataType) -> Any:
    if value is None or kind != pl.String() or isinstance(value, str):
        return float(value) if kind == pl.Float64() and value is not None else value
    return json.dumps(value)
