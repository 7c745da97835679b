"""The page of a study says what was measured, on what, and what the choice costs."""

from pathlib import Path

import pytest

from fedrec.data.synthetic import write_world
from fedrec.studies.charts import AXES, cost_charts
from fedrec.studies.report import study_report
from fedrec.studies.study_file import load_study
from fedrec.studies.table import TABLE, write_table
from tests.studies.small_studies import WORLD, a_result, a_study, an_outcome, made_up


def a_page(folder: Path, *, private_data: bool = False, **tables: object) -> str:
    """The page of a study of made-up results, whose second setting is the better one."""
    data = folder / "data"
    if private_data:
        write_world(data, **WORLD)
        tables["world"] = None
    study = load_study(a_study(folder, **tables), data=data if private_data else None)

    def result_of(trial):
        return a_result(trial, ndcg=0.01 * trial.scenario.privacy.noise_multiplier + 0.01 * trial.seed)

    table = write_table(folder / TABLE, study, made_up(study, folder, result_of))
    return study_report(study, table, command="fedrec simulate small.toml")


def test_the_page_names_the_best_setting_its_epsilon_unit_and_what_was_scored(tmp_path: Path) -> None:
    page = a_page(tmp_path)
    assert "the best setting reaches NDCG@10 .095 [.070, .130] on the validation item, at epsilon 1.00." in page
    assert "USER: everything that one person contributed" in page
    assert "Only the VALIDATION item was scored" in page
    assert "1e-6" in page
    assert "fedrec simulate small.toml" in page
    assert 'class="alarm"' not in page


def test_the_page_loads_nothing_and_runs_no_script(tmp_path: Path) -> None:
    page = a_page(tmp_path)
    assert "<script" not in page
    assert "src=" not in page
    assert "url(" not in page


def test_settings_without_noise_are_called_not_private_in_large_letters(tmp_path: Path) -> None:
    page = a_page(tmp_path, grid={"privacy": {"mode": ["none", "central"]}})
    assert "<strong>NOT PRIVATE</strong>" in page
    assert "1 of 2 settings. No noise was added." in page


def test_a_choice_on_private_data_is_said_to_be_covered_by_no_epsilon(tmp_path: Path) -> None:
    page = a_page(tmp_path, private_data=True)
    assert "<strong>CHOSEN ON PRIVATE DATA</strong>" in page
    assert "no epsilon on this page covers that choice" in page
    assert "costs nobody anything" not in page


def test_a_search_on_proxy_data_is_told_from_what_ran_on_the_data(tmp_path: Path) -> None:
    page = a_page(tmp_path, private_data=True, proxy={"users": 30, "items": 60})
    assert "CHOSEN ON PRIVATE DATA" not in page
    assert "Settings were searched on proxy data" in page


def test_failed_runs_stand_on_the_page_with_their_line(tmp_path: Path) -> None:
    study = load_study(a_study(tmp_path))
    trials = made_up(study, tmp_path, lambda trial: a_result(trial) if trial.seed == 1 else None)
    page = study_report(study, write_table(tmp_path / TABLE, study, trials))
    assert "no setting succeeded with every seed" in page
    assert page.count("not run to its end") == 2


def test_there_is_a_chart_for_each_cost_that_differs_and_a_sentence_for_the_others() -> None:
    outcomes = [an_outcome(epsilon=4.0, rounds=2, ndcg=[0.1, 0.2]), an_outcome(epsilon=1.0, rounds=4, ndcg=[0.1])]
    charts, same = cost_charts(outcomes)
    assert [chart.title for chart in charts] == [
        "NDCG@10 on validation, by epsilon",
        "NDCG@10 on validation, by rounds",
    ]
    assert same == [
        "All runs had the same people in the data: 1,000.",
        "All runs had the same bytes per client and round: 50 kB.",
    ]
    assert [row[0] for row in charts[0].rows] == ["1.00", "4.00", "4.00"]
    assert charts[0].svg.count("<path") > 3


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.column)
def test_every_run_of_a_chart_stands_in_its_table(axis: object) -> None:
    outcomes = [
        an_outcome(epsilon=1.0 * size, population=100 * size, rounds=size, bytes_per_client_round=8 * size)
        for size in (1, 3, 100)
    ]
    charts, same = cost_charts(outcomes)
    chart = charts[AXES.index(axis)]
    assert same == []
    assert len(chart.rows) == 6
    assert "Best setting's mean over seeds at" in chart.description


def test_runs_without_noise_are_left_out_of_the_chart_by_epsilon_and_counted() -> None:
    charts, _ = cost_charts([an_outcome(epsilon=None), an_outcome(epsilon=1.0), an_outcome(epsilon=2.0)])
    assert "1 settings without noise are left out" in charts[0].description
    assert cost_charts([an_outcome(epsilon=None)])[1][0] == "No run added noise: there is no epsilon to draw."
