"""Which settings are tried: the whole grid, draws that can be repeated, and optuna's by what was found."""

from pathlib import Path

from fedrec.studies.asking import ask_optuna
from fedrec.studies.proposing import settings_of
from fedrec.studies.study import Study
from fedrec.studies.study_file import load_study
from tests.studies.small_studies import a_study

SEARCH = {
    "federation": {"rounds": {"low": 2, "high": 5}, "server_rate": {"low": 0.01, "high": 10.0, "log": True}},
    "adapter": {"ranks": [{"history_proj": 4}, {"history_proj": 8}]},
}


def a_search(folder: Path, how: str, *, trials: int = 40) -> Study:
    return load_study(a_study(folder, study={"how": how, "trials": trials}, grid=None, search=SEARCH))


def test_a_grid_is_tried_whole(tmp_path: Path) -> None:
    grid = {"federation": {"rounds": [2, 4]}, "privacy": {"noise_multiplier": [1.0, 2.0, 4.0]}}
    settings = settings_of(load_study(a_study(tmp_path, grid=grid)))
    assert len(settings) == 6
    assert {"federation.rounds": 4, "privacy.noise_multiplier": 1.0} in settings


def test_draws_lie_in_their_ranges_and_can_be_repeated(tmp_path: Path) -> None:
    study = a_search(tmp_path, "random")
    drawn = settings_of(study)
    assert drawn == settings_of(study)
    assert {each["federation.rounds"] for each in drawn} == {2, 3, 4, 5}
    rates = [each["federation.server_rate"] for each in drawn]
    assert 0.01 <= min(rates) < 0.3 < max(rates) <= 10
    # By their size: as many under the middle of the logarithm as over it, but for luck.
    assert 8 < sum(rate < 0.316 for rate in rates) < 32


def test_optuna_asks_the_same_after_the_same_and_learns_from_what_it_is_told(tmp_path: Path) -> None:
    study = a_search(tmp_path, "optuna")
    tried: list[tuple[dict[str, object], float | None]] = []
    while len(tried) < 30:
        (settings,) = ask_optuna(study, tried, count=1)
        assert [settings] == ask_optuna(study, tried, count=1)
        rate = settings["federation.server_rate"]
        tried.append((settings, None if len(tried) == 3 else -abs(rate - 0.05)))
    assert all(each["adapter.ranks"] in SEARCH["adapter"]["ranks"] for each, _ in tried)
    late = sorted(each["federation.server_rate"] for each, _ in tried[20:])
    assert late[5] < 1
