"""The report as a person sees it, in a headless Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from fedrec.reporting.run_report import write_run_report
from fedrec.reporting.summary import RunSummary
from tests.web.browsing import IN_A_BROWSER, chromium

pytestmark = IN_A_BROWSER


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver


def shown(browser: webdriver.Chrome, path: Path, *, width: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(path.as_uri())


def test_the_verdict_is_seen_and_the_page_fits_its_window(
    browser: webdriver.Chrome, tmp_path: Path, private_run: RunSummary, plain_run: RunSummary, seeded_run: RunSummary
) -> None:
    path = tmp_path / "report.html"
    write_run_report(path, [plain_run, private_run, seeded_run], title="Three runs")
    for width in (390, 1280):
        shown(browser, path, width=width)
        for details in browser.find_elements(By.TAG_NAME, "details"):
            browser.execute_script("arguments[0].open = true", details)
        verdict = browser.find_element(By.ID, "verdict")
        assert verdict.is_displayed()
        assert "“central-eps8” reaches NDCG@10" in verdict.text
        assert verdict.location["y"] < 200
        headings = [alarm.text for alarm in browser.find_elements(By.CSS_SELECTOR, ".alarm strong")]
        assert headings == ["NOT PRIVATE", "NOT A DP GUARANTEE"]
        page_width = browser.execute_script("return document.documentElement.scrollWidth")
        assert page_width <= width
    assert browser.get_log("browser") == []


def test_the_summary_of_a_private_run_fits_on_one_screen(
    browser: webdriver.Chrome, tmp_path: Path, private_run: RunSummary
) -> None:
    path = tmp_path / "report.html"
    write_run_report(path, [private_run], title="One run")
    shown(browser, path, width=1280)
    cards = browser.find_element(By.CLASS_NAME, "cards")
    assert cards.rect["y"] + cards.rect["height"] <= 800


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(
    browser: webdriver.Chrome, tmp_path: Path, seeded_run: RunSummary, scheme: str
) -> None:
    path = tmp_path / "report.html"
    write_run_report(path, [seeded_run], title="Seeded")
    shown(browser, path, width=1280, scheme=scheme)
    paper = rgb(browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))
    for selector in ("#verdict", ".note", ".alarm strong", "summary"):
        ink = rgb(browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color"))
        assert contrast(ink, paper) >= 4.5
    assert (sum(paper) > 384) is (scheme == "light")


def rgb(css: str) -> tuple[int, ...]:
    return tuple(int(float(part)) for part in css[css.index("(") + 1 : -1].split(",")[:3])


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: tuple[int, ...]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
