"""`fedrec simulate STUDY.toml`: many settings and seeds of one scenario, one table and one page."""

import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fedrec.errors import ConfigError, RefusedError
from fedrec.studies.study_file import load_study

if TYPE_CHECKING:
    from fedrec.studies.outcome import Outcome
    from fedrec.studies.study import Study

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What was typed: the study's file, and what wins over it."""

    path: Path
    data: Path | None
    overrides: tuple[str, ...]
    out: Path | None
    engine: str | None
    final: bool


def run_study(request: StudyRequest, *, as_json: bool) -> None:
    """Run a study to its end, going on with whatever is there of it, and show its settings, best first."""
    study, out = _opened(request)
    # Lazily: what only asks for help, or is refused, needs neither torch nor charts.
    from fedrec.cli.progress import progress_bars
    from fedrec.studies.outcome import best_of, outcomes_of
    from fedrec.studies.report import write_study_report
    from fedrec.studies.running import StudyFolder, require_data
    from fedrec.studies.table import TABLE, write_table

    require_data(study)
    _require_devices(study)
    try:
        with progress_bars() as watch:
            trials = StudyFolder(out, study, watch).run()
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on with the study", err=True)
        raise
    table = write_table(out / TABLE, study, trials)
    write_study_report(out / "report.html", study, table, command=shlex.join(["fedrec", *sys.argv[1:]]))
    outcomes = outcomes_of(table, metric=study.config.objective)
    failures = [failure for failure in table["failure"].to_list() if failure is not None]
    if not outcomes:
        raise RefusedError(f"No run of the study succeeded. The first one said: {failures[0]}")
    best = best_of(outcomes, seeds=len(study.config.seeds))
    if as_json:
        typer.echo(json.dumps(_as_json(study, out, outcomes, best) | {"runs": len(table), "failed": len(failures)}))
    else:
        _show(study, out, outcomes, failures)
    if best is None:
        raise RefusedError("No setting ran with every seed, so none is chosen. Mend what failed, and go on.")


def _require_devices(study: "Study") -> None:
    if set(study.config.devices) != {"cpu"}:
        from fedrec.simulation.engines import engine_named

        for device in study.config.devices:
            engine_named(study.config.engine, device=device)


def _opened(request: StudyRequest) -> "tuple[Study, Path]":
    if request.final:
        raise ConfigError("A study chooses by validation alone. Leave --final out, and run the chosen setting with it.")
    study = load_study(request.path, data=request.data, overrides=request.overrides)
    if request.engine is not None:
        if request.engine not in ("flower", "reference", "cohort"):
            raise ConfigError(f"There is no engine `{request.engine}`. Choose flower, reference or cohort.")
        study = replace(study, config=replace(study.config, engine=request.engine))  # type: ignore[arg-type]
    return study, request.out or Path("runs") / study.config.name


def _as_json(study: "Study", out: Path, outcomes: "list[Outcome]", best: "Outcome | None") -> dict[str, Any]:
    from fedrec.studies.report import choice_words

    return {
        "study": study.config.name,
        "folder": str(out),
        "objective": study.config.objective,
        "part": "validation",
        "choice": choice_words(study),
        "best": best.as_json() if best else None,
        "settings": [outcome.as_json() for outcome in outcomes],
    }


def _show(study: "Study", out: Path, outcomes: "list[Outcome]", failures: list[str]) -> None:
    from fedrec.studies.report import choice_words
    from fedrec.studies.shown import outcome_lines

    typer.echo(f"{study.config.name}: {study.config.objective} on validation, mean over seeds, best first")
    for line in outcome_lines(outcomes[:_SHOWN]):
        typer.echo(line)
    if len(outcomes) > _SHOWN:
        typer.echo(f"... and {len(outcomes) - _SHOWN} more settings in the report.")
    if failures:
        typer.echo(f"{len(failures)} runs failed. The first one said: {failures[0]}")
    typer.echo(choice_words(study))
    typer.echo(f"Report: {out / 'report.html'}\nTable: {out / 'results.parquet'}")
