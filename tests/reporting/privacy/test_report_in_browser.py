"""The budget report as a person sees it, in a headless Chromium, and as it prints."""

import base64
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from fedrec.reporting.privacy.report import write_privacy_report
from tests.reporting.privacy.runs import CENTRAL, HUBS, a_run, changed
from tests.reporting.test_report_in_browser import browser, contrast, pytestmark, rgb, shown

__all__ = ["browser", "pytestmark"]

SEEDED = changed(HUBS, privacy={"noise": "seeded"})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = a_run(tmp_path_factory.mktemp("runs") / "central", CENTRAL)
    write_privacy_report(run)
    return run / "privacy.html"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = a_run(tmp_path_factory.mktemp("runs") / "seeded", SEEDED)
    write_privacy_report(run)
    return run / "privacy.html"


def test_the_verdict_is_seen_and_the_page_fits_its_window(browser: webdriver.Chrome, page: Path) -> None:
    for width in (360, 1280):
        shown(browser, page, width=width)
        for details in browser.find_elements(By.TAG_NAME, "details"):
            browser.execute_script("arguments[0].open = true", details)
        verdict = browser.find_element(By.ID, "verdict")
        assert verdict.is_displayed()
        assert verdict.text.startswith("Private at epsilon")
        assert verdict.location["y"] < 200
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []


def test_the_warning_of_a_seeded_run_is_the_largest_text_but_the_verdict(
    browser: webdriver.Chrome, seeded: Path
) -> None:
    shown(browser, seeded, width=1280)
    warning = browser.find_element(By.CSS_SELECTOR, ".alarm strong")
    assert warning.text == "NOT A DP GUARANTEE"
    assert warning.location["y"] < 400
    sizes = {
        selector: float(browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("font-size")[:-2])
        for selector in (".alarm strong", "h1", "h2", "p")
    }
    assert max(sizes, key=lambda selector: sizes[selector]) == ".alarm strong"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(browser: webdriver.Chrome, seeded: Path, scheme: str) -> None:
    shown(browser, seeded, width=1280, scheme=scheme)
    paper = rgb(browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))
    for selector in ("#verdict", ".note", ".alarm strong", "summary", "dt", "nav a", "td.alert", ".sign li"):
        ink = rgb(browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color"))
        assert contrast(ink, paper) >= 4.5, selector
    assert (sum(paper) > 384) is (scheme == "light")


def test_words_are_not_broken_where_there_is_room(browser: webdriver.Chrome, page: Path) -> None:
    shown(browser, page, width=1280)
    for value in browser.find_elements(By.CSS_SELECTOR, ".card dd"):
        assert value.rect["height"] < 30


def test_it_prints_on_a_handful_of_pages_with_its_tables_open(browser: webdriver.Chrome, page: Path) -> None:
    shown(browser, page, width=1000)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    pages = base64.b64decode(printed["data"]).count(b"/Type /Page\n")
    assert 5 <= pages <= 16
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    table = browser.find_element(By.CSS_SELECTOR, "figure details table")
    assert table.rect["height"] > 0
    assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()
