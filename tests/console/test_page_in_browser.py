"""The operator's page, walked through in a headless Chromium."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from fedrec.registry.registry import Registry
from fedrec.service.folder import ServiceFolder
from tests.console.conftest import Operated
from tests.console.serving import listening
from tests.web.browsing import IN_A_BROWSER, Browsing, chromium

pytestmark = IN_A_BROWSER
WHY = "the figures of this round look odd"


@dataclass
class Desk(Browsing):
    """The console in a browser, and the service behind it."""

    console: Operated
    port: int

    def open(self, *, catalogue: str = "", width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open it anew by a one-time link, and look at a catalogue."""
        self.size(width, height)
        self.scheme(scheme)
        self.browser.get("about:blank")
        self.browser.get(f"http://127.0.0.1:{self.port}/console/#ticket={self.console.ticket()}")
        self.until(lambda: "Live" in self.text("#live-words"), "the page is live")
        if catalogue:
            self.click(f'#catalogues a[href="#{catalogue}"]')
            self.until(lambda: f"of {catalogue}" in self.text("#headline"), "the catalogue is shown")

    def do(self, button: str, *, confirm: str | None = None) -> None:
        """Press a button, say why, and see that it was done."""
        self.click(button)
        self.one("#reason").send_keys(WHY)
        if confirm is not None:
            assert not self.one("#do-it").is_enabled()
            self.one("#confirm").send_keys(confirm)
        self.click("#do-it")
        self.until(lambda: not self.all("#asking[open]"), "the dialog is closed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def desk(browser: WebDriver, folder: ServiceFolder, registry: Registry) -> Iterator[Desk]:
    with listening(folder, registry) as (port, console):
        yield Desk(browser, console, port)  # type: ignore[arg-type]
