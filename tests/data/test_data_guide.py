import re
import tomllib
from pathlib import Path

import pytest

from fedrec.data.dataset import CATALOGUE_SCHEMA, EVENT_SCHEMA
from fedrec.data.download import KNOWN
from fedrec.data.events import Kind
from fedrec.data.importers.mapping_file import load_mapping
from fedrec.data.importers.repairs import REPAIRS
from fedrec.data.importers.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def rows_below(heading: str) -> dict[str, str]:
    """The first two columns of a table of the guide that begins with `heading`."""
    table = GUIDE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    return {name: rest[0] for names, *rest in cells for name in re.findall(r"`(\w+)`", names)}


def test_the_guide_lists_every_repair_in_the_words_that_are_printed() -> None:
    assert rows_below("repair") == REPAIRS


def test_the_guide_explains_every_key_of_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    finish = Settings.finish

    def note(settings: Settings) -> None:
        asked.update(settings._known)
        finish(settings)

    monkeypatch.setattr(Settings, "finish", note)
    example = GUIDE.split("```toml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "shop.toml").write_text(example)
    assert load_mapping(tmp_path / "shop.toml").name == tomllib.loads(example)["name"]
    inner = {"column", "values", "other", "label", "history", "events", "catalogue"}
    assert asked - inner == set(rows_below("key")) - inner
    assert all(f"`{key}" in GUIDE or f"[{key}]" in GUIDE for key in asked)


def test_the_guide_names_the_columns_kinds_and_a_known_download() -> None:
    for name in [*EVENT_SCHEMA, *CATALOGUE_SCHEMA, *Kind]:
        assert re.search(rf"\b{name}\b", GUIDE), name
    assert re.search(r"fedrec data download (\S+)", GUIDE).group(1) in KNOWN  # type: ignore[union-attr]
