"""Which runs a study makes, where they lie, and what it chooses by."""

from pathlib import Path

import pytest

from fedrec.data.synthetic import write_world
from fedrec.errors import DataError, RefusedError
from fedrec.studies.proposing import settings_of
from fedrec.studies.running import StudyFolder, choice, objectives, require_data
from fedrec.studies.study_file import load_study
from tests.studies.small_studies import WORLD, a_result, a_study, made_up


def test_finished_runs_are_not_run_again(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path))
    made_up(study, tmp_path / "out", a_result)
    told: list[tuple[str, int, int]] = []
    trials = StudyFolder(tmp_path / "out", study, lambda *said: told.append(said)).run()
    assert [(trial.settings["privacy.noise_multiplier"], trial.seed) for trial in trials] == [
        *((4.0, 1), (4.0, 2)),
        *((8.0, 1), (8.0, 2)),
    ]
    assert told[-1] == ("runs", 4, 4)
    assert not any((trial.out / "config.toml").exists() for trial in trials)


def test_a_run_is_named_by_its_settings_seed_and_data_and_not_by_where_they_lie(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_world(tmp_path / place / "world", users=36, items=60, seed=8)
    write_world(tmp_path / "other", users=36, items=60, seed=9)
    names = {}
    for data in ("here/world", "there/world", "other"):
        study = load_study(a_study(tmp_path, world=None), data=tmp_path / data)
        names[data] = [trial.out.name for trial in StudyFolder(tmp_path, study).trials(settings_of(study), "search")]
    assert names["here/world"] == names["there/world"]
    assert len({*names["here/world"], *names["other"]}) == 8


def test_worlds_of_all_sizes_are_made_once(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path, grid={"world": {"users": [20, 30]}}))
    folder = StudyFolder(tmp_path / "out", study)
    first = folder.trials(settings_of(study), "search")
    told: list[object] = []
    folder.watch = lambda *said: told.append(said)
    assert folder.trials(settings_of(study), "search") == first
    assert sorted({trial.data.name for trial in first}) == ["20x60-s8", "30x60-s8"]
    assert told == []


def test_settings_that_fit_nowhere_together_are_a_failure_of_their_own(tmp_path: Path) -> None:
    search = {"federation": {"cohort": [4], "min_replies": [8]}}
    scenario = {"federation": {"cohort": 8, "min_replies": 1}, "privacy": {"mode": "none"}}
    path = a_study(tmp_path, study={"how": "random", "trials": 1}, grid=None, search=search, scenario=scenario)
    study = load_study(path)
    trials = StudyFolder(tmp_path / "out", study).run()
    assert all("federation.min_replies 8 is over" in trial.failure for trial in trials)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_setting_that_failed_with_one_seed_is_not_chosen(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path))

    def result_of(trial):
        if trial.settings["privacy.noise_multiplier"] == 4.0 and trial.seed == 2:
            return None
        return a_result(trial, ndcg=0.3 if trial.settings["privacy.noise_multiplier"] == 4.0 else 0.1 + trial.seed)

    trials = made_up(study, tmp_path / "out", result_of)
    assert list(objectives(study, trials).values()) == [pytest.approx(1.6)]
    assert choice(study, trials) == {"privacy.noise_multiplier": 8.0}


def test_a_search_on_proxy_data_runs_there_and_only_the_chosen_setting_on_the_data(tmp_path: Path) -> None:
    write_world(tmp_path / "data", **WORLD)
    path = a_study(tmp_path, world=None, proxy={"users": 30, "items": 60, "seed": 3})
    study = load_study(path, data=tmp_path / "data")
    made_up(study, tmp_path / "out", lambda trial: a_result(trial, ndcg=0.01 * trial.scenario.privacy.noise_multiplier))
    folder = StudyFolder(tmp_path / "out", study)
    for trial in folder.trials([{"privacy.noise_multiplier": 8.0}], "chosen"):
        trial.out.mkdir(parents=True)
        (trial.out / "result.json").write_text("{}")
    trials = folder.run()
    assert {(trial.part, trial.data.name) for trial in trials} == {("search", "30x60-s3"), ("chosen", "data")}
    assert [trial.settings for trial in trials[4:]] == [{"privacy.noise_multiplier": 8.0}] * 2


def test_data_that_cannot_be_opened_are_refused_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        require_data(load_study(a_study(tmp_path, world=None), data=tmp_path / "absent"))
    with pytest.raises(DataError):
        require_data(load_study(a_study(tmp_path, proxy={"path": "absent"})))


def test_two_processes_do_not_run_one_study(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path))
    made_up(study, tmp_path / "out", a_result)

    def again(*_: object) -> None:
        with pytest.raises(RefusedError, match="Another process runs the study"):
            StudyFolder(tmp_path / "out", study).run()

    assert len(StudyFolder(tmp_path / "out", study, again).run()) == 4
