"""The page of a study as a person sees it, in a headless Chromium."""

from pathlib import Path

from fedrec.studies.report import write_study_report
from fedrec.studies.study_file import load_study
from fedrec.studies.table import TABLE, write_table
from tests.studies.small_studies import a_result, a_study, made_up
from tests.web.browsing import IN_A_BROWSER, Browsing, chromium

pytestmark = IN_A_BROWSER


def test_the_page_fits_its_window_and_shows_its_charts(tmp_path: Path) -> None:
    grid = {"privacy": {"noise_multiplier": [1.0, 2.0, 8.0]}, "federation": {"rounds": [2, 4, 8]}}
    study = load_study(a_study(tmp_path, grid=grid))
    trials = made_up(study, tmp_path, lambda trial: a_result(trial, ndcg=0.02 * trial.scenario.federation.rounds))
    write_study_report(tmp_path / "report.html", study, write_table(tmp_path / TABLE, study, trials))
    with chromium(tmp_path) as browser:
        page = Browsing(browser)
        for width in (390, 1280):
            page.size(width, 900)
            browser.get((tmp_path / "report.html").as_uri())
            assert page.one("#verdict").is_displayed()
            charts = page.all("figure svg")
            assert len(charts) == 2
            assert all(chart.is_displayed() and chart.size["height"] > 100 for chart in charts)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.get_log("browser") == []
