"""The comparison of methods for the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from fedrec.reporting.figures import ABSENT, epsilon_text, share
from fedrec.reporting.summary import Method, RunSummary, methods


def summary_table(runs: Sequence[RunSummary], *, split: str | None = None) -> Table:
    """Runs, then baselines, with NDCG@10 and its interval, HR@10, and epsilon with its unit.

    split: "validation" or "test"; by default the test item where every run scored it.
    """
    split = split or ("test" if runs and all(run.metrics.get("test") for run in runs) else "validation")
    table = Table(title=f"Full ranking, {split} item", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("Method")
    table.add_column("NDCG@10 [95%]", justify="right", no_wrap=True)
    table.add_column("HR@10", justify="right", no_wrap=True)
    table.add_column("epsilon")
    for method in methods(runs, split=split):
        style = "bold" if method.run else ""
        ndcg, hit = method.metrics.get("ndcg@10"), method.metrics.get("hr@10")
        cells = (method.name, str(ndcg or ABSENT), share(hit.value) if hit else ABSENT, epsilon_cell(method))
        # Text, not str: a name in square brackets is not markup.
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def epsilon_cell(method: Method) -> str:
    """Epsilon with its unit, or the warning that takes its place; a dash for a baseline."""
    if method.run is None:
        return ABSENT
    privacy = method.run.privacy
    if not privacy.noised:
        return "NOT PRIVATE"
    spent = f"{epsilon_text(privacy.spend.epsilon)} per {privacy.unit}"
    return spent if privacy.guarantee else f"{spent} (no guarantee)"
