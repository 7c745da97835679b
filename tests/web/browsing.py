"""A page in a headless Chromium: of the agent, of the console, and a report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.installed import CHROMIUM, DRIVER, needs

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20

IN_A_BROWSER = [
    pytest.mark.browser,
    needs(CHROMIUM and DRIVER, "Chromium with its chromedriver"),
]


@dataclass
class Browsing:
    """A browser, and what a walk needs of it."""

    browser: webdriver.Chrome

    def scheme(self, scheme: str) -> None:
        """Prefer light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def size(self, width: int, height: int) -> None:
        """Give the window this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        for _ in range(20):
            try:
                self.one(selector).click()
                return
            except StaleElementReferenceException:  # the page drew it anew between finding and clicking
                time.sleep(0.1)
        raise AssertionError(f"{selector} is drawn anew all the time")

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true of the page, which may be rebuilding itself."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(WebDriverException):
                if true():
                    return
            time.sleep(0.05)
        raise AssertionError(f"Never came: {what}. The page says: {self.text('body')}")


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A headless browser whose profile lies in `folder`."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()
