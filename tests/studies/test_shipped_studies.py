"""The studies that are shipped can be run as they are."""

from pathlib import Path

import pytest

from fedrec.config_file import load_scenario
from fedrec.studies.proposing import settings_of
from fedrec.studies.study_file import is_study, load_study

SIMULATIONS = Path(__file__).parents[2] / "simulations"


def test_every_file_of_simulations_is_a_sound_scenario_or_a_sound_study(tmp_path: Path) -> None:
    studies = []
    for path in SIMULATIONS.rglob("*.toml"):
        if is_study(path):
            studies.append(path.name)
            # A study of made people has its data in its file; any other is given them.
            load_study(path, data=None if "[world]" in path.read_text() else tmp_path)
        else:
            load_scenario(path)
    assert "study_small.toml" in studies


@pytest.mark.parametrize("name", ["study_availability", "study_small"])
def test_the_page_of_a_study_names_its_command_and_has_a_row_per_setting(name: str) -> None:
    page = (SIMULATIONS / "studies" / f"{name}.md").read_text()
    assert f"fedrec simulate simulations/{name}.toml" in page
    assert page.count("\n| ") == 2 + len(settings_of(load_study(SIMULATIONS / f"{name}.toml")))
