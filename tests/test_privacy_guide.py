"""The privacy guide's commands run and its settings exist."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from fedrec.config_file import parse_scenario
from fedrec.privacy_config import Mode
from tests.cli.commands import fedrec

REPOSITORY = Path(__file__).parents[1]
GUIDE = (REPOSITORY / "docs" / "privacy.md").read_text(encoding="utf-8")
PLANS = [line for line in GUIDE.splitlines() if line.startswith(".venv/bin/fedrec privacy plan")]


@pytest.mark.slow
@pytest.mark.parametrize("command", PLANS)
def test_every_plan_of_the_guide_can_be_made(command: str) -> None:
    done = fedrec(*command.split()[1:])
    assert done.returncode == 0, done.stderr


def test_the_settings_of_the_guide_are_a_scenarios() -> None:
    distributed, budget = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    found = parse_scenario({"name": "guide", "federation": {"cohort": 100}, **tomllib.loads(distributed)})
    assert (found.privacy.mode, found.secure_aggregation.size) == ("distributed", 26000)
    assert parse_scenario({"name": "guide", **tomllib.loads(budget)}).budget.per_day == 10


@pytest.mark.slow
def test_the_guides_figures_of_distributed_mode_are_those_of_its_plan() -> None:
    (command,) = (each for each in PLANS if "distributed" in each)
    found = json.loads(fedrec(*command.split()[1:], "--json").stdout)
    text = " ".join(GUIDE.split())
    assert f"the noise multiplier {found['noise_multiplier']:.4f}" in text
    assert f"n_min = {found['n_min']} honest clients" in text
    assert found["cross_check"] == found["epsilon"]


def test_the_guide_names_every_mode_and_only_files_that_exist() -> None:
    assert all(f"`{mode}`" in GUIDE for mode in Mode.__args__)  # type: ignore[attr-defined]
    for name in re.findall(r"`((?:fedrec|simulations)/[\w./]+)`|\]\((\w+\.md)\)", GUIDE):
        assert (REPOSITORY / name[0] if name[0] else REPOSITORY / "docs" / name[1]).exists(), name
