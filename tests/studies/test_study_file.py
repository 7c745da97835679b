"""What a study file says, and what it is refused for before the first run."""

from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import ConfigError
from fedrec.studies.study import Range
from fedrec.studies.study_file import is_study, load_study
from tests.studies.small_studies import SCENARIO, a_study

RANDOM = {"how": "random"}


def test_a_file_with_a_study_table_is_a_study(tmp_path: Path) -> None:
    assert is_study(a_study(tmp_path))
    plain = tmp_path / "plain.toml"
    plain.write_text("[federation]\nrounds = 3\n")
    assert not is_study(plain)
    assert not is_study(tmp_path / "absent.toml")


def test_settings_are_named_by_dots_or_by_tables(tmp_path: Path) -> None:
    by_dots = load_study(a_study(tmp_path, grid={"federation.rounds": [2, 4]}))
    by_tables = load_study(a_study(tmp_path, grid={"federation": {"rounds": [2, 4]}}))
    assert by_dots.choices == by_tables.choices == {"federation.rounds": (2, 4)}


def test_a_scenario_may_lie_in_a_file_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text("[federation]\nrounds = 7\n")
    study = load_study(a_study(tmp_path, scenario="scenario.toml"))
    assert study.scenario_of({}, seed=0, name="trial").federation.rounds == 7


def test_a_change_on_the_command_line_reaches_every_run(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path), overrides=["federation.rounds=5"])
    assert study.scenario_of({"privacy.noise_multiplier": 8.0}, seed=3, name="trial").federation.rounds == 5


def test_a_run_has_its_settings_and_seed_and_fits_no_baselines(tmp_path: Path) -> None:
    scenario = load_study(a_study(tmp_path)).scenario_of({"adapter.ranks": {"items": 2}}, seed=9, name="trial")
    assert (scenario.seed, scenario.adapter.ranks) == (9, {"items": 2})
    assert scenario.evaluation.baselines == ()
    assert not scenario.evaluation.non_private_twin


def test_a_range_of_whole_numbers_is_told_from_one_of_others(tmp_path: Path) -> None:
    search = {
        "federation": {"rounds": {"low": 2, "high": 8}, "server_rate": {"low": 0.1, "high": 10.0, "log": True}},
    }
    study = load_study(a_study(tmp_path, study=RANDOM, grid=None, search=search))
    assert study.choices["federation.rounds"] == Range(low=2, high=8, whole=True)
    assert study.choices["federation.server_rate"] == Range(low=0.1, high=10.0, log=True)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"grid": {}}, r"\[grid\] is empty"),
        ({"grid": {"federation": {"rounds": []}}}, "`federation.rounds` is .*list of one value or more"),
        ({"grid": {"federation": {"rounds": 4}}}, "`federation.rounds` is 4"),
        ({"grid": {"federation": {"rounds": [4, 4]}}}, "names a value twice"),
        ({"grid": {"federation": {"round": [4]}}}, "Did you mean `rounds`"),
        ({"grid": {"federation": {"rounds": [4, "x"]}}}, "`federation.rounds` is 'x'"),
        ({"grid": {"federation": {"rounds": {"low": 1, "high": 2}}}}, "a grid cannot count"),
        ({"grid": {"seed": [1, 2]}}, "It is `study.seeds`"),
        ({"grid": {"world": {"people": [3]}}}, "Unknown setting `world.people`"),
        ({"grid": {"world": {"users": [3.5]}}}, "whole numbers"),
        ({"grid": {"federation": {"cohort": [8], "min_replies": [1, 9]}}}, "min_replies 9 is over"),
        ({"search": {"federation": {"rounds": [4]}}}, r"reads \[grid\], not \[search\]"),
        ({"study": RANDOM}, r"reads \[search\], not \[grid\]"),
        ({"study": {"how": "luck"}}, "`study.how` is 'luck'. Choose from 'grid', 'random', 'optuna'"),
        ({"study": {"seeds": []}}, "study.seeds"),
        ({"study": {"seeds": [1, 1]}}, "each once"),
        ({"study": {"processes": 0}}, "study.processes is 0"),
        ({"study": {"devices": []}}, "study.devices"),
        (
            {"study": {**RANDOM, "trials": 20_000_000}, "grid": None, "search": {"federation": {"rounds": [4]}}},
            "most is",
        ),
        ({"grid": {"world": {"users": [0, 120]}}}, "A world of 0 users"),
        ({"study": {"devices": ["cuda:0"], "engine": "flower"}}, "study.devices"),
        ({"study": {"objective": "ndcg"}}, "Choose from 'ndcg@10'"),
        ({"study": {"trails": 3}}, "Did you mean `trials`"),
        ({"worlds": {}}, "Unknown table `worlds`"),
        ({"scenario": None}, "needs a scenario"),
        ({"scenario": "absent.toml"}, "absent.toml does not exist"),
        ({"world": None}, "No data: give --data DIR"),
        ({"proxy": {"path": "x", "users": 3}}, "either path or users"),
        ({"proxy": {"users": 30}, "grid": {"world": {"users": [3]}}}, r"no \[proxy\]"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line_before_the_first_run(
    tmp_path: Path, tables: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        load_study(a_study(tmp_path, **tables))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ({"low": 4, "high": 2}, "holds no numbers"),
        ({"low": 0, "high": 2, "log": True}, "starts over 0"),
        ({"low": 0, "high": 4}, "federation.rounds is 0"),
        ({"low": 1.5, "high": 1.7, "whole": True}, "is of whole numbers"),
        ({"low": 1, "hihg": 4}, "Did you mean `high`"),
        ({"low": 1}, "`federation.rounds.high` is missing"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(tmp_path: Path, ends: dict[str, Any], says: str) -> None:
    path = a_study(tmp_path, study=RANDOM, grid=None, search={"federation": {"rounds": ends}}, scenario=SCENARIO)
    with pytest.raises(ConfigError, match=says):
        load_study(path)
