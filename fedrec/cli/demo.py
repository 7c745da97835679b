"""`fedrec demo`: the whole story in a few minutes, with a report to open."""

import json
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Where to write; an earlier demo there is replaced.")] = Path("runs/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train on a synthetic world: devices and hubs, with and without privacy."""
    from rich.console import Console

    from fedrec.cli.progress import progress_bars
    from fedrec.demo.story import tell
    from fedrec.reporting.demo_table import summary_table

    with progress_bars() as watch:
        story = tell(out, watch=watch)
    if as_json:
        typer.echo(json.dumps({"runs": [run.result for run in story.runs], "report": str(story.report)}))
        return
    console = Console()
    console.print(summary_table(story.runs))
    for run in story.runs:
        console.print(f"{run.name}: {run.text('run')}", soft_wrap=True, highlight=False)
        if run.privacy.noised:
            console.print(f"  {run.result['privacy']['statement']}", soft_wrap=True, highlight=False)
    console.print(f"\nOpen the report: {story.report.resolve()}", soft_wrap=True, highlight=False)
