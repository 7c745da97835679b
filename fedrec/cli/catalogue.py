"""`fedrec catalogue`: turn a dataset's public catalogue into an item index."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from fedrec.errors import DataError

app = typer.Typer(help="The public catalogue and its item index.", no_args_is_help=True)


@app.callback()
def catalogue() -> None:
    """The public catalogue and its item index."""


@app.command()
def encode(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The index folder to make.", show_default=False)],
    encoder: Annotated[str | None, typer.Option(help="Folder of a text encoder; the packaged one if absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode the items' texts into an index: `index.safetensors` and, for devices, `index.int8.safetensors`."""
    if out.exists():
        raise DataError(f"{out} exists already. Choose another --out, or remove it first.")
    # Lazily: polars and the encoder take seconds, and `--help` should not.
    from fedrec.data.dataset import Dataset
    from fedrec.model.catalogue_index import index_for
    from fedrec.model.text_encoder import TextEncoder

    opened = Dataset.open(dataset)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Encoding texts", total=opened.info.items)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        index = index_for(opened, TextEncoder.open(encoder), show)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        index.save(part / "index.safetensors")
        index.save_int8(part / "index.int8.safetensors")
        part.chmod(0o755)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    summary = {
        "index": str(out),
        "items": len(index),
        "width": index.width,
        "encoder": index.encoder_name,
        "encoder_hash": index.encoder_hash,
        "content_hash": index.content_hash,
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(f"{out}: {len(index)} items, width {index.width}, encoder {index.encoder_name}")
