"""`fedrec simulate` and `fedrec evaluate`."""

import json
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.cli.study import StudyRequest, run_study
from fedrec.config_file import load_scenario
from fedrec.errors import ConfigError
from fedrec.studies.study_file import is_study

if TYPE_CHECKING:
    from fedrec.training.stages import Stages

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Final = Annotated[bool, typer.Option("--final", help="Score the test item too. Once, when all choices are made.")]


def simulate(
    scenario: Annotated[Path, typer.Argument(help="A scenario or a study: a TOML file, as in simulations/.")],
    data: Annotated[Path | None, typer.Option(help="A dataset folder; else the scenario's data.path.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: a.b=value.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME if absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    final: Final = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help="flower (messages in-process; the default), reference (a plain loop) or cohort (batched, fastest)."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where the cohort engine computes: cpu, cuda or another torch device.")
    ] = "cpu",
    precision: Annotated[
        str, typer.Option(help="Of the cohort engine's products with the catalogue: float32 or bf16.")
    ] = "float32",
    profile: Annotated[
        Path | None, typer.Option(help="Write how long the stages of its rounds took: a trace for ui.perfetto.dev.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a federation and compare it with baselines; of a study, many settings of it with one another."""
    if is_study(scenario):
        if profile:
            raise ConfigError("--profile is of one run. Leave it out, or give a scenario in place of a study.")
        if (device, precision) != ("cpu", "float32"):
            raise ConfigError("--device and --precision are of one run. Set study.devices in the study.")
        run_study(StudyRequest(scenario, data, tuple(overrides or ()), out, engine, final), as_json=as_json)
        return
    engine = engine or "flower"
    parsed = load_scenario(scenario, overrides or [])
    if data is None and not parsed.data.path:
        raise ConfigError("No data: give --data DIR, or set data.path in the scenario.")
    if engine not in ("flower", "reference", "cohort"):
        raise ConfigError(f"There is no engine `{engine}`. Choose flower, reference or cohort.")
    _require_dataset(data or Path(parsed.data.path))
    from fedrec.cli.progress import progress_bars
    from fedrec.simulation.engines import engine_named
    from fedrec.simulation.run import Request
    from fedrec.simulation.run import simulate as run
    from fedrec.training.stages import measured

    request = Request(
        scenario=parsed,
        data=data or Path(parsed.data.path),
        out=out or Path("runs") / parsed.name,
        resume=resume,
        final=final,
        command=shlex.join(["fedrec", *sys.argv[1:]]),
    )
    engine_of = engine_named(engine, device=device, precision=precision)
    if profile and profile.is_dir():
        raise ConfigError(f"--profile {profile} is a folder. Name the file that the trace goes to.")
    with measured() if profile else nullcontext() as stages, progress_bars() as watch:
        result = run(request, engine_of=engine_of, watch=watch)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _show(request.out)
    if profile and stages:
        stages.write(profile)
        _show_stages(stages, profile)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or one of its releases.")],
    data: Annotated[Path, typer.Option(help="A dataset folder.")],
    baselines: Annotated[bool, typer.Option("--baselines", help="Fit and tune the baselines too.")] = False,
    final: Final = False,
    key: Annotated[
        Path | None, typer.Option(help="The signer's public key; a run's own signing.pub if absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a run or a release on a data set."""
    _require_dataset(data)
    from fedrec.assessment import evaluate_path
    from fedrec.cli.progress import progress_bars

    with progress_bars() as watch:
        result = evaluate_path(run, data, final=final, baselines=baselines, key=key, watch=watch)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for part in ("validation", "test"):
            for name, metric in result.get(part, {}).items():
                typer.echo(f"{part} {name} {metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]")
        typer.echo(f"Privacy: {result['privacy']['statement']}")


def _show_stages(stages: "Stages", file: Path) -> None:
    """Where the time went, on stderr; a stage within another is counted in both."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Stages, in {file}", title_justify="left")
    for name in ("stage", "times", "seconds"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for name, (times, seconds) in stages.totals().items():
        table.add_row(name, f"{times}", f"{seconds:.3f}")
    Console(stderr=True).print(table)


def _require_dataset(path: Path) -> None:
    """Say what is wrong with the data before torch and Flower are imported, which takes seconds."""
    from fedrec.data.dataset import Dataset

    Dataset.open(path)


def _show(out: Path) -> None:
    from rich.console import Console

    from fedrec.reporting.demo_table import summary_table
    from fedrec.reporting.summary import RunSummary
    from fedrec.training.run_folder import read_rounds

    result = json.loads((out / "result.json").read_text())
    console = Console()
    console.print(summary_table([RunSummary.build(result, read_rounds(out))]))
    console.print(f"Privacy: {result['privacy']['statement']}")
    if coins := result["privacy"].get("amplified"):
        console.print(f"Beside it: {coins['text']}", soft_wrap=True)
    console.print(f"Report: {out / 'report.html'}\nReleases: {out / 'releases'}", soft_wrap=True)
