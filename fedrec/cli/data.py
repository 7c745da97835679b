"""`fedrec data`: bring data in, make a synthetic world, or fetch a known set."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.data.dataset import DatasetInfo

app = typer.Typer(help="Bring data in, make a synthetic world, or fetch a known set.", no_args_is_help=True)


class Importer(StrEnum):
    """What kind of files are imported."""

    MOVIELENS = "movielens"
    AMAZON = "amazon"
    MIND = "mind"
    TABLE = "table"


Out = Annotated[Path, typer.Option(help="The folder to make.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("import")
def import_(
    importer: Annotated[Importer, typer.Argument(help="What the files are.", show_default=False)],
    path: Annotated[
        Path, typer.Argument(help="The folder that holds them, or one file of events.", show_default=False)
    ],
    out: Out,
    mapping: Annotated[Path | None, typer.Option(help="The mapping file of a `table`; see docs/data.md.")] = None,
    user_key: Annotated[Path | None, typer.Option(help="Key file for user ids; OUT.user-key if absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import files into a dataset folder; what was mended or left out is counted and shown."""
    if (importer is Importer.TABLE) != (mapping is not None):
        wanted = "needs `--mapping FILE`" if mapping is None else "takes no `--mapping`: use `table` with it"
        raise ConfigError(f"`{importer}` {wanted}. See docs/data.md.")
    # Lazily: polars takes a moment, and `--help` should not.
    from fedrec.data.importers.mapping_file import load_mapping, shipped_mapping
    from fedrec.data.importers.movielens import detect_movielens
    from fedrec.data.importers.table import import_table
    from fedrec.data.importers.user_keys import default_key_path

    if importer is Importer.MOVIELENS:
        chosen = detect_movielens(path)
    else:
        chosen = load_mapping(mapping) if mapping else shipped_mapping(importer)
    with Console(stderr=True).status("opening") as status:
        info = import_table(path, mapping=chosen, out=out, user_key=user_key, progress=status.update)
    _show(out, info, {"user_key": str(user_key or default_key_path(out.resolve()))}, as_json=as_json)


@app.command()
def synth(
    out: Out,
    users: Annotated[int, typer.Option(min=1, help="How many people.")] = 1000,
    items: Annotated[int, typer.Option(min=1, help="How many items.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a synthetic world: people, items with texts, and what the people did."""
    from fedrec.data.synthetic import write_world

    with _bar("Making people") as show:
        info = write_world(out, users=users, items=items, seed=seed, progress=show)
    _show(out, info, {}, as_json=as_json)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A known data set, such as movielens-100k.", show_default=False)],
    out: Out,
    sha256: Annotated[str | None, typer.Option(help="Expect this hash in place of the pinned one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a known data set over https, check its hash and unpack it; import it afterwards."""
    from fedrec.data.download import download as fetch
    from fedrec.data.download import known_archive

    archive = known_archive(name, sha256=sha256)
    with _bar(f"Fetching {name}") as show:
        fetch(archive, out=out, progress=show)
    if as_json:
        typer.echo(json.dumps({"path": str(out), "name": name, "url": archive.url, "sha256": archive.sha256}))
    else:
        typer.echo(f"{out}: {name}, SHA-256 as expected. Next: fedrec data import movielens {out} --out DIR")


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr, as a function of how much is done and how much there is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(out: Path, info: "DatasetInfo", more: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"path": str(out), **more, **asdict(info)}))
        return
    from fedrec.data.importers.repairs import REPAIRS

    typer.echo(f"{out}: {info.users:,} users, {info.items:,} items, {info.events:,} events")
    for name, count in info.repairs.items():
        typer.echo(f"  {count:,} {name} ({REPAIRS[name]})")
    if "user_key" in more:
        typer.echo(f"  user ids are hashed with the key in {more['user_key']}: keep it, and keep it apart")
