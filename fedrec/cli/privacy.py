"""`fedrec privacy`: plan a budget, report what was spent, audit the path that spends it."""

import typer

app = typer.Typer(help="Plan a budget, report what was spent, audit the path that spends it.", no_args_is_help=True)
