"""What the command line refuses of a study, and what it answers from stored ones."""

import json
from pathlib import Path

import pytest

from fedrec.studies.study_file import load_study
from fedrec.studies.table import TABLE, write_table
from tests.cli.commands import fedrec
from tests.studies.small_studies import a_result, a_study, made_up


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The folder of a study: epsilon 2 with NDCG@10 .08, and 1 with .16."""
    study = load_study(a_study(tmp_path))
    trials = made_up(
        study, tmp_path, lambda trial: a_result(trial, ndcg=0.02 * trial.scenario.privacy.noise_multiplier)
    )
    write_table(tmp_path / TABLE, study, trials)
    return tmp_path


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--final",), "A study chooses by validation alone"),
        (("--engine", "steam"), "There is no engine `steam`"),
        (("--set", "federation.round=3"), "Did you mean `rounds`"),
        (("--data", "somewhere"), "makes its own data"),
    ],
)
def test_a_study_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    done = fedrec("simulate", a_study(tmp_path), "--out", tmp_path / "out", *more)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_finished_shows_its_settings_best_first(stored: Path) -> None:
    done = fedrec("simulate", stored / "small.toml", "--out", stored)
    assert done.returncode == 0, done.stderr
    assert "1. .160 [.140, .190] at epsilon 1.00, delta 1e-6 per USER; 36 people, 2 rounds" in done.stdout
    assert "The data are synthetic" in done.stdout


def test_stored_runs_answer_which_epsilon_gives_which_utility(stored: Path) -> None:
    done = fedrec("privacy", "plan", "--utility", stored, "--at-least", 0.1, "--json")
    found = json.loads(done.stdout)
    assert [each["epsilon"] for each in found["satisfying"]] == [1.0]
    assert found["pareto"] == found["satisfying"]
    assert (found["stored"], found["nearest"]) == (2, [])


def test_where_nothing_satisfies_the_nearest_runs_are_named(stored: Path) -> None:
    done = fedrec("privacy", "plan", "--utility", stored, "--epsilon", 0.5)
    assert done.returncode == 0
    assert "None of 2 stored settings satisfies. The nearest that were run:" in done.stdout
    assert "Nothing was run under 1.00 epsilon." in done.stdout


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--users", "5"), "Add --utility FOLDER"),
        (("--noise-multiplier", "5", "--participations", "2"), "--delta is missing"),
        (("--utility", "absent"), "absent holds no results.parquet"),
        (("--utility", "absent", "--noise-multiplier", "5"), "--noise-multiplier is of a plan"),
        (("--utility", "absent", "--mode", "local"), "--mode is of a plan"),
    ],
)
def test_questions_that_stored_runs_cannot_answer_are_refused(more: tuple[str, ...], says: str) -> None:
    done = fedrec("privacy", "plan", *more)
    assert done.returncode == 2
    assert says in done.stderr
