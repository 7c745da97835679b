"""`fedrec privacy plan --utility`: how many users, rounds and which epsilon for which utility, from stored studies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fedrec.studies.wanted import Wanted

if TYPE_CHECKING:
    from fedrec.studies.outcome import Outcome
    from fedrec.studies.utility import Answer


def show_utility(folders: Sequence[Path], wanted: Wanted, *, as_json: bool) -> None:
    """Print the stored settings that satisfy, those that no other beats first."""
    # Lazily: polars takes a moment, and `--help` should not.
    from fedrec.studies.utility import answer, stored_outcomes

    found = answer(stored_outcomes(folders), wanted)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        _show(found)


def _show(found: "Answer") -> None:
    count = len(found.satisfying)
    if found.satisfying:
        typer.echo(f"{count} of {found.stored} stored settings satisfy; NDCG@10 on validation, mean over seeds.")
        _list("No other stored setting is better in every respect than these:", found.front)
        rest = [outcome for outcome in found.satisfying if outcome not in found.front]
        if rest:
            _list("The others that satisfy:", rest)
    else:
        _list(f"None of {found.stored} stored settings satisfies. The nearest that were run:", found.nearest)
    for note in found.notes:
        typer.echo(note)


def _list(title: str, outcomes: "Sequence[Outcome]") -> None:
    from fedrec.studies.shown import outcome_lines

    typer.echo(f"\n{title}")
    for line in outcome_lines(outcomes):
        typer.echo(line)
    typer.echo("")
