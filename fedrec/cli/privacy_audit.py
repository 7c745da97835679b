"""`fedrec privacy audit`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.errors import ConfigError
from fedrec.files import write_atomically

if TYPE_CHECKING:
    from fedrec.audit.outcome import Audit


def audit(
    fault: Annotated[str | None, typer.Option(help="Put this fault into the path; the audit must notice it.")] = None,
    mode: Annotated[
        str, typer.Option(help="central, distributed or local: where the noise is that is audited.")
    ] = "central",
    seed: Annotated[int, typer.Option(help="Of the canaries and their coins; the noise is never seeded.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the record here too: RUN/audit.json for a report.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Audit the path that spends the budget, and the audit itself by faults that are planted in it."""
    if out is not None and out.is_dir():
        raise ConfigError(f"{out} is a folder. Name a file, such as {out / 'audit.json'}.")
    from fedrec.audit.run import run_audit
    from fedrec.cli.progress import progress_bars

    with progress_bars() as watch:
        found = run_audit(mode, seed=seed, fault=fault, watch=watch)
    record = json.dumps(found.as_json(), indent=2)
    if out is not None:
        write_atomically(out, f"{record}\n".encode())
    typer.echo(record if as_json else _in_words(found))
    raise typer.Exit(found.exit_code)


def _in_words(found: "Audit") -> str:
    """The outcome line by line, the statement last."""
    from fedrec.audit.outcome import not_covered

    bounds = found.bounds
    lines = [
        f"Audit of `{found.mode}` mode over {found.canaries} canaries, seed {found.seed}",
        f"  reported epsilon    {found.reported_epsilon:.2f}",
        f"  one-run bound       {bounds.one_run:.2f}  ({bounds.one_run_from})",
        f"  Gaussian-fit bound  {bounds.gaussian_fit:.2f}  ({bounds.gaussian_fit_from})",
        "",
        *(
            f"  {'sound ' if check.passed else 'FAILED'}  {check.name:26} {check.what}: {check.found:.4g}"
            for check in found.checks
        ),
        "",
        *(
            f"  {'caught' if control.caught else 'MISSED'}  {name:20} by {control.detector}: {control.what}"
            for name, control in found.controls.items()
        ),
        "",
        *(f"  not looked at: {what}" for what in not_covered(found.mode)),
        "",
        found.statement,
    ]
    return "\n".join(lines)
