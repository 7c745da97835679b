"""The privacy guide's commands run and its settings exist."""

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


def test_the_budget_of_the_guide_is_a_scenarios() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert parse_scenario({"name": "guide", **tomllib.loads(block)}).budget.per_day == 10


def test_the_guide_names_every_mode_and_only_files_that_exist() -> None:
    assert all(f"`{mode}`" in GUIDE for mode in Mode.__args__)  # type: ignore[attr-defined]
    for name in re.findall(r"`((?:fedrec|simulations)/[\w./]+)`|\]\((\w+\.md)\)", GUIDE):
        assert (REPOSITORY / name[0] if name[0] else REPOSITORY / "docs" / name[1]).exists(), name
