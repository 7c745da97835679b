"""The guide to simulation names what there is."""

import re
import tomllib
from pathlib import Path

from fedrec.simulation.engines import ENGINES

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs/simulation.md").read_text()


def test_its_table_lists_every_engine() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", GUIDE, flags=re.MULTILINE)) == sorted(ENGINES)


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"(?:simulations|tests|fedrec|docs)/[\w/]+\.(?:py|toml|md)", GUIDE)
    assert named
    assert all((REPOSITORY / name).exists() for name in named)


def test_what_flwr_run_is_told_are_settings_of_the_app() -> None:
    (told,) = re.findall(r"--run-config '(.*)'", GUIDE)
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert set(re.findall(r"(\w+)=", told)) <= settings.keys()
