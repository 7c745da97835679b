import json
from pathlib import Path

import polars as pl
import pytest

from fedrec.data.dataset import DatasetWriter
from fedrec.errors import DataError
from fedrec.model.item_index import ItemIndex


# typer 0.20 imports a name that click 8.5 deprecates.
@pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")
def test_the_command_writes_both_files_and_refuses_to_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fedrec.cli.catalogue import app

    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path / "cache"))
    with DatasetWriter(tmp_path / "data") as writer:
        writer.set_catalogue(pl.DataFrame({"item_id": ["a", "b", "c"], "text": ["Birds", "Bread", "Stars at night"]}))
        writer.add_events(pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [1], "kind": ["view"]}))
        writer.commit(source="test", licence="none", importer="test")
    arguments = ["encode", str(tmp_path / "data"), "--out", str(tmp_path / "index"), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    index = ItemIndex.load(tmp_path / "index" / "index.safetensors")
    copy = ItemIndex.load(tmp_path / "index" / "index.int8.safetensors")
    assert summary["content_hash"] == index.content_hash == copy.content_hash
    assert summary["items"] == len(index) == 3
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [
        "index.int8.safetensors",
        "index.safetensors",
    ]
    assert isinstance(CliRunner().invoke(app, arguments).exception, DataError)
