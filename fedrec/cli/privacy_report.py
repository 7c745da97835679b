"""`fedrec privacy report`: what a run spent, for whoever has to answer for it."""

from pathlib import Path
from typing import Annotated

import typer

_NOT_STATED = "not stated"


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="The page; RUN/privacy.html if absent. JSON lies beside it.")
    ] = None,
    md: Annotated[Path | None, typer.Option(help="The Markdown; beside the page if absent.")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="An earlier run on the same people, added.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="The signer's public key; the run's own signing.pub if absent.")
    ] = None,
    curator: Annotated[str, typer.Option(help="Who answers for the run.")] = _NOT_STATED,
    purpose: Annotated[str, typer.Option(help="What it is for.")] = _NOT_STATED,
    contact: Annotated[str, typer.Option(help="Whom to ask.")] = _NOT_STATED,
) -> None:
    """Report what a run spent, recomputed from its ledger and verified; refused where records disagree."""
    from fedrec.reporting.privacy.facts import Stated
    from fedrec.reporting.privacy.report import privacy_report, report_text, write_report
    from fedrec.reporting.privacy.targets import require_targets

    page = html or run / "privacy.html"
    require_targets([page])
    beside, markdown = page.with_suffix(".json"), md or page.with_suffix(".md")
    require_targets((beside, page, markdown))
    stated = Stated(curator=curator, purpose=purpose, contact=contact)
    found = privacy_report(run, also=also or (), key=key, stated=stated)
    write_report(found, json_to=beside, html_to=page, md_to=markdown)
    if as_json:
        typer.echo(report_text(found), nl=False)
        return
    for alarm in found["verdict"]["alarms"]:
        typer.echo(alarm["heading"])
    typer.echo(found["verdict"]["text"])
    if found["verdict"]["meaning"]:
        typer.echo(found["verdict"]["meaning"])
    typer.echo(f"Report: {page}")
