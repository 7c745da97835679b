"""`fedrec privacy`: plan a budget, report what was spent, audit the path that spends it."""

import typer

from fedrec.cli import privacy_audit, privacy_plan, privacy_report

app = typer.Typer(help="Plan a budget, report what was spent, audit the path that spends it.", no_args_is_help=True)
app.command("audit")(privacy_audit.audit)
app.command("plan")(privacy_plan.plan)
app.command("report")(privacy_report.report)
