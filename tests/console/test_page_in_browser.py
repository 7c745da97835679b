"""The operator's page, walked through in a headless Chromium."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from fedrec.console.tickets import operator_token
from fedrec.registry.control import wished
from fedrec.registry.registry import Registry
from fedrec.service.folder import ServiceFolder
from tests.console.conftest import Operated
from tests.console.serving import listening
from tests.console.worlds import Shop, busy
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
        """Press a button, say why, and see that it was done; what was said before may lie over the button."""
        if self.all("#toast button"):
            self.click("#toast button")
        self.click(button)
        self.one("#reason").send_keys(WHY)
        if confirm is not None:
            assert not self.one("#do-it").is_enabled()
            self.one("#confirm").send_keys(confirm)
        self.click("#do-it")
        self.until(lambda: not self.all("#asking[open]"), "the dialog is closed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def desk(browser: webdriver.Chrome, folder: ServiceFolder, registry: Registry) -> Iterator[Desk]:
    with listening(folder, registry) as (port, console):
        yield Desk(browser, console, port)
        leave(browser)


def leave(browser: webdriver.Chrome) -> None:
    """No page is open, and nothing that it did is left for the next test to see."""
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)


def a_busy_shop(desk: Desk) -> Shop:
    """A catalogue in the middle of its run, right now."""
    shop = desk.console.shop()
    busy(shop, now=int(time.time()))
    return shop


def now_in(desk: Desk) -> str:
    return desk.text("#now-title")


def test_an_operator_walks_through_the_whole_page(desk: Desk) -> None:
    shop = a_busy_shop(desk)
    desk.open()
    assert now_in(desk) == "Waiting for devices: 27 of 40"
    assert "#ticket" not in desk.browser.current_url
    assert "use round 4" in desk.text("#headline")
    assert "812" in desk.text("#enrolled")
    assert "of 8.00 epsilon spent" in desk.text("#spent")
    assert len(desk.all("#rounds-table tbody tr")) == 8
    assert "<5 × no answer in time" in desk.text("#rounds-table")
    assert len(desk.all("#charts svg")) == 2
    assert len(desk.all("#releases-list .release")) == 3

    # What happens is seen without a reload.
    shop.say("asking", connected=41, replies=33, round=9, at=int(desk.console.clock[0]))
    desk.until(lambda: now_in(desk) == "Round 9 is under way: 20 or more of 40 answers", "the round is under way")

    desk.do("#pause")
    desk.until(lambda: "Paused:" in desk.text("#toast"), "it is said that it was done")
    assert wished(desk.console.registry, "films").wish == "pause"
    assert WHY in desk.text("#deeds-list")
    desk.do("#resume")
    desk.until(lambda: desk.all("#pause"), "it can be paused again")

    newest = "#releases-list .release:first-child"
    desk.do(f"{newest} button")
    desk.until(lambda: "in use" in desk.text(newest), "the newest release is in use")
    desk.do("#roll-back")
    desk.until(lambda: "in use" not in desk.text(newest), "the newest release is in use no more")
    assert "use round 4" in desk.text("#headline")
    assert desk.text("#deeds-list").count(WHY) == 4

    desk.do("#stop", confirm="films")
    desk.until(lambda: "Start again" in desk.text("#controls"), "it can be started again")
    assert wished(desk.console.registry, "films").wish == "stop"
    assert severe(desk) == []


def severe(desk: Desk) -> list[str]:
    """What the browser complained about: a script or style from elsewhere, a fault on the page."""
    lines: list[dict[str, str]] = desk.browser.get_log("browser")
    return [line["message"] for line in lines]


def test_signing_in_and_out(desk: Desk) -> None:
    desk.console.shop()
    desk.size(1280, 900)
    desk.browser.get("about:blank")
    desk.browser.get(f"http://127.0.0.1:{desk.port}/console/")
    desk.browser.execute_script("sessionStorage.clear()")
    desk.browser.get(f"http://127.0.0.1:{desk.port}/console/")
    desk.until(lambda: desk.one("#closed").is_displayed(), "nobody is in yet")

    desk.one("#token").send_keys("x" * 40 + Keys.ENTER)
    desk.until(lambda: "opens nothing" in desk.text("#closed-why"), "a wrong token is refused")
    desk.one("#token").send_keys(operator_token(desk.console.folder) + Keys.ENTER)
    desk.until(lambda: "Live" in desk.text("#live-words"), "the token opens the page")
    assert desk.one("#token").get_attribute("value") == ""

    desk.click("#leave")
    desk.until(lambda: desk.one("#closed").is_displayed(), "signed out")
    desk.browser.refresh()
    desk.until(lambda: desk.one("#closed").is_displayed(), "it stays so")


def test_a_link_that_was_used_opens_nothing_more(desk: Desk) -> None:
    desk.console.shop()
    desk.open()
    ticket = desk.console.ticket()
    desk.browser.execute_script("sessionStorage.clear()")
    for shown in ("Live", ""):
        desk.browser.get("about:blank")
        desk.browser.get(f"http://127.0.0.1:{desk.port}/console/#ticket={ticket}")
        desk.until(lambda shown=shown: desk.text("#live-words" if shown else "#closed-why"), "the page has decided")
        assert bool(desk.one("#open").is_displayed()) is bool(shown)
        desk.browser.execute_script("sessionStorage.clear()")


def test_a_service_that_goes_away_is_said_and_one_that_is_back_goes_on(
    browser: webdriver.Chrome, folder: ServiceFolder, registry: Registry
) -> None:
    with listening(folder, registry) as (port, console):
        console.shop().say("waiting", connected=9)
        desk = Desk(browser, console, port)
        desk.open()
    desk.until(lambda: "Not connected" in desk.text("#live-words"), "the page says that it is alone")
    assert now_in(desk) == "Waiting for devices: 9 of 40"
    leave(browser)


def test_hostile_words_stay_words(desk: Desk) -> None:
    shop = desk.console.shop()
    shop.say("failed", message="<script>document.title='taken'</script><img src=x onerror=alert(1)>")
    shop.finish(1, replies=30, failures={"<b>bold</b>": 10})
    desk.open()
    desk.until(lambda: "<script>" in desk.text("#now-alarm"), "the line is shown as it is")
    desk.until(lambda: "10 × other reasons" in desk.text("#rounds-table"), "the code is none of ours")
    assert desk.browser.title == "fedrec console"
    assert severe(desk) == []


def test_everything_can_be_done_by_keyboard(desk: Desk) -> None:
    desk.console.shop()
    desk.open()
    active = desk.browser.switch_to
    for _ in range(20):
        active.active_element.send_keys(Keys.TAB)
        if active.active_element.get_attribute("id") == "pause":
            break
    active.active_element.send_keys(Keys.ENTER)
    desk.until(lambda: active.active_element.get_attribute("id") == "reason", "the field is where one types")
    active.active_element.send_keys(WHY + Keys.ENTER)
    desk.until(lambda: wished(desk.console.registry, "films").wish == "pause", "Enter does it")
    desk.until(lambda: not desk.all("#asking[open]"), "the dialog is closed")
    desk.click("#stop")
    active.active_element.send_keys(Keys.ESCAPE)
    desk.until(lambda: not desk.all("#asking[open]"), "Escape does nothing and closes")
    assert wished(desk.console.registry, "films").wish == "pause"


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (390, "dark"), (768, "light"), (1280, "dark")])
def test_the_page_fits_every_screen(desk: Desk, width: int, scheme: str) -> None:
    a_busy_shop(desk)
    desk.open(width=width, scheme=scheme)
    desk.until(lambda: desk.all("#releases-list li"), "the releases are there")
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert desk.browser.execute_script(overflow) <= 0
    small = """return [...document.querySelectorAll('button, a, summary, input')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width && box.height && box.height < 20; }).map((one) => one.outerHTML)"""
    assert desk.browser.execute_script(small) == []


def test_nothing_is_loaded_from_elsewhere(desk: Desk) -> None:
    a_busy_shop(desk)
    desk.open()
    home = f"http://127.0.0.1:{desk.port}/"
    asked = []
    for line in desk.browser.get_log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert len(asked) > 5
    assert not [url for url in asked if not url.startswith((home, "about:", "data:"))]
