"""A progress bar on stderr that follows the stages of a long job."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedrec.simulation.watching import Watcher


@contextmanager
def progress_bars() -> Iterator[Watcher]:
    """Bars by stage on a terminal; a line per stage where stderr is a file."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
                if not console.is_terminal:
                    print(f"{stage} ...", file=sys.stderr, flush=True)  # noqa: T201
            bars.update(tasks[stage], completed=done, total=total)

        yield watch
