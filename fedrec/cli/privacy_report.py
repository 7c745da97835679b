"""`fedrec privacy report`: what a run spent, for whoever has to answer for it."""

from pathlib import Path
from typing import Annotated

import typer

_NOT_STATED = "not stated"


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    html: Annotated[bool, typer.Option("--html", help="Write the page, privacy.html.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Write the Markdown, privacy.md. Neither named: both.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print privacy.json, which is always written.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder to write into; the run's own if absent.")] = None,
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

    stated = Stated(curator=curator, purpose=purpose, contact=contact)
    found = privacy_report(run, also=also or (), key=key, stated=stated)
    both = not (html or md)
    written = write_report(found, out or run, html=html or both, md=md or both)
    if as_json:
        typer.echo(report_text(found), nl=False)
        return
    for alarm in found["verdict"]["alarms"]:
        typer.echo(alarm["heading"])
    typer.echo(found["verdict"]["text"])
    if found["verdict"]["meaning"]:
        typer.echo(found["verdict"]["meaning"])
    if found["verdict"]["not_met"]:
        typer.echo(f"Not met: {'; '.join(found['verdict']['not_met'])}.")
    typer.echo(f"Report: {', '.join(map(str, written))}")
