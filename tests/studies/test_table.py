"""The table of a study: a row per run, every setting in a column of its own."""

from pathlib import Path

import polars as pl
import pytest

from fedrec.errors import DataError
from fedrec.studies.outcome import outcomes_of
from fedrec.studies.study_file import load_study
from fedrec.studies.table import COLUMNS, TABLE, read_table, write_table
from tests.studies.small_studies import SCENARIO, a_result, a_study, made_up


def test_a_row_tells_what_a_run_was_and_what_it_found(tmp_path: Path) -> None:
    ranks = [{"history_proj": 4}, {"history_proj": 8, "items": 2}]
    study = load_study(a_study(tmp_path, grid={"adapter": {"ranks": ranks}}))
    table = write_table(tmp_path / TABLE, study, made_up(study, tmp_path, a_result))
    assert table.equals(read_table(tmp_path))
    assert table.columns[: len(COLUMNS)] == list(COLUMNS)
    assert table["adapter.ranks.items"].to_list() == [None, None, 2, 2]
    row = table.row(0, named=True)
    assert (row["seed"], row["epsilon"], row["delta"], row["unit"], row["guarantee"]) == (1, 2.0, 1e-6, "USER", True)
    assert (row["ndcg@10"], row["ndcg@10_low"], row["ndcg@10_high"]) == pytest.approx((0.1, 0.08, 0.13))
    assert (row["federation.rounds"], row["rounds"], row["population"]) == (2, 2, 36)
    assert row["model.decays"] == "[0.0, 0.7, 0.95]"


def test_a_failed_run_keeps_its_row_and_its_line(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path))
    trials = made_up(study, tmp_path, lambda trial: a_result(trial) if trial.seed == 1 else None)
    trials[1].failure_file.write_text("Round 2 would spend too much.\n")
    table = write_table(tmp_path / TABLE, study, trials)
    assert table["failure"].to_list() == [None, "Round 2 would spend too much.", None, "not run to its end"]
    assert table["ndcg@10"].null_count() == 2
    assert [len(outcome.runs) for outcome in outcomes_of(table)] == [1, 1]


def test_runs_without_noise_have_no_epsilon(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path, scenario=SCENARIO, grid={"privacy": {"mode": ["none", "central"]}}))
    table = write_table(tmp_path / TABLE, study, made_up(study, tmp_path, a_result))
    assert table["epsilon"].to_list() == [None, None, 2.0, 2.0]
    assert {outcome.tag for outcome in outcomes_of(table)} == {"NOT PRIVATE", ""}


def test_a_folder_without_a_sound_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no results.parquet"):
        read_table(tmp_path)
    (tmp_path / TABLE).write_bytes(b"none")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path)
    pl.DataFrame({"seed": [1]}).write_parquet(tmp_path / TABLE)
    with pytest.raises(DataError, match="has no column study"):
        read_table(tmp_path)
