"""A progress bar on stderr that follows the stages of a long job."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fedrec.simulation.watching import Watcher


class _Rate(ProgressColumn):
    """How many a second, or a minute where that is under one."""

    def render(self, task: Task) -> Text:
        """Nothing until the rate is known."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")


@contextmanager
def progress_bars() -> Iterator[Watcher]:
    """Bars by stage on a terminal; a line per stage where stderr is a file."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def watch(stage: str, done: int, total: int, note: str = "", /) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note="")
                if not console.is_terminal:
                    print(f"{stage} ...", file=sys.stderr, flush=True)  # noqa: T201
            bars.update(tasks[stage], completed=done, total=total, note=note)

        yield watch
