"""Every recipe is a scenario that can be agreed to: it loads, and what it promises in its text is what it costs."""

import math
import re
from pathlib import Path

import pytest

from fedrec.config import Scenario
from fedrec.config_file import load_scenario
from fedrec.privacy.accounting import composed, epsilon_of
from fedrec.privacy.budget import Budget, require_plan_within
from fedrec.privacy.statement import composed_epsilon
from fedrec.secagg.planned import plan_of

RECIPES = sorted((Path(__file__).parents[2] / "simulations" / "recipes").glob("*.toml"))
PRIVATE = [path for path in RECIPES if load_scenario(path).privacy.mode != "none"]


def spent(scenario: Scenario) -> float:
    plan = plan_of(scenario)
    assert plan is not None
    return epsilon_of(composed(plan.spends(plan.limits.most)), delta=plan.delta)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_named_like_its_file(path: Path) -> None:
    assert load_scenario(path).name == path.stem


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_a_private_recipe_fits_its_own_budget(path: Path) -> None:
    scenario = load_scenario(path)
    plan = plan_of(scenario)
    assert plan is not None
    assert scenario.budget.epsilon is not None
    require_plan_within(plan, Budget.of(scenario.budget, delta=plan.delta), epsilon_of=composed_epsilon)


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_the_epsilon_in_a_recipes_comment_is_what_it_costs(path: Path) -> None:
    written = re.findall(r"epsilon (\d+\.\d{4}) at delta 1e-6", path.read_text())
    rounded_up = math.ceil(spent(load_scenario(path)) * 10**4) / 10**4  # as reports print it
    assert written == [f"{rounded_up:.4f}"]


def test_the_recipe_for_20000_people_spends_less_than_epsilon_8_on_known_participation() -> None:
    scenario = load_scenario(RECIPES[0].with_name("central.toml"))
    assert scenario.privacy.mode == "central"
    assert scenario.privacy.sampling_rate == 1
    assert scenario.privacy.noise == "system"
    assert 7 < spent(scenario) <= 8
