"""The page of the person, walked through in a headless Chromium."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from fedrec.agent.opening import FILE, open_page
from fedrec.ondevice.engine import Engine
from tests.agent.conftest import Agent
from tests.agent.serving import listening
from tests.agent.worlds import HOSTILE, a_private_release, took_part
from tests.ondevice.device_worlds import a_device
from tests.web.browsing import IN_A_BROWSER, PATIENCE, Browsing, chromium

pytestmark = IN_A_BROWSER


@dataclass
class Page(Browsing):
    """The page in a browser, and the engine behind it."""

    engine: Engine
    port: int
    ticket: Callable[[], str]
    downloads: Path

    def open(self, *, width: int = 1280, scheme: str = "light") -> None:
        """Open it anew, by an address of its own."""
        self.size(width, 900)
        self.scheme(scheme)
        self.browser.get("about:blank")
        self.browser.get(f"http://127.0.0.1:{self.port}/#ticket={self.ticket()}")
        self.until(lambda: self.cards(), "there are recommendations")
        self.until(lambda: self.all("#participation label"), "there is a privacy panel")

    def cards(self) -> list[str]:
        """The ids of the list as it is shown."""
        script = "return [...document.querySelectorAll('#cards > li')].map((card) => card.dataset.item)"
        found: list[str] = self.browser.execute_script(script)
        return found

    def say(self, action: str) -> str:
        """Say something about the first item, and return which it was."""
        first = self.cards()[0]
        button = f"#cards > li:first-child [data-action={action}]"
        if action in ("hide", "block", "not_this_topic"):
            self.click("#cards > li:first-child .more summary")
        self.click(button)
        self.until(lambda: first not in self.cards(), f"the item that got `{action}` is gone")
        self.until(lambda: self.all("#toast-undo"), "it can be undone")
        return first


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver


@pytest.fixture
def page(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Page]:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    device = a_device(tmp_path / "device", a_private_release(tmp_path / "published"))
    with Engine.open(device, keys="file") as engine, listening(engine) as (port, app):
        yield Page(browser, engine, port, app.state.sessions.ticket, downloads)


def test_a_person_walks_through_the_whole_page(page: Page) -> None:
    took_part(page.engine, 2)
    page.open()
    assert "Nothing is known of you" in page.text("#cold")

    for _ in range(3):
        page.say("like")
    assert "Chosen on this device from 3 events" in page.text("#headline")
    assert "you liked" in page.text(".reasons").lower()
    assert "you liked" in page.text("#context-chips").lower()

    before = page.cards()
    hidden = page.say("hide")
    page.click("#toast-undo")
    page.until(lambda: page.cards() == before, "undoing brings the same list back")
    assert hidden == page.cards()[0]
    page.say("skip")
    page.click("#undo")
    page.until(lambda: page.cards() == before, "the last word is taken back without naming it")

    page.until(lambda: page.all("#clusters .mute"), "there are interests")
    page.click("#clusters li:first-child .mute")
    page.until(lambda: page.all("#clusters .muted"), "the interest is muted")
    page.until(lambda: page.cards() != before, "its items left the list")

    assert "Your device took part 2 times" in page.text("#spent")
    meter = page.one("#spent [role=meter]")
    assert 0 < float(meter.get_attribute("aria-valuenow") or 0) < float(meter.get_attribute("aria-valuemax") or 0) == 8
    assert "of 8.00 epsilon spent" in page.text("#spent")
    assert "49.2 kB, round 1" in page.text("#uploads")

    page.click("#export")
    page.until(lambda: list(page.downloads.glob("fedrec-export-*.json")), "the export is saved")
    exported = json.loads(next(page.downloads.glob("*.json")).read_text())
    assert [event["kind"] for event in exported["events"]] == ["like"] * 3

    assert page.one("#take-part").is_selected()
    page.click("#pause")
    page.until(lambda: "Paused" in page.text("#participation"), "taking part is paused")
    page.click("#opt-out")
    page.until(lambda: not page.one("#take-part").is_selected(), "the device takes no part")

    page.click("#erase")
    page.until(lambda: page.all("#erase-now"), "erasing is asked about")
    assert "cannot be taken back" in page.text("#erasing")
    assert not page.one("#erase-now").is_enabled()
    page.one("#erase-word").send_keys("erase")
    page.click("#erase-now")
    page.until(lambda: "Nothing is known of you" in page.text("#cold"), "nothing is known any more")
    assert page.engine.store.events() == []
    assert "Your device took part 2 times" in page.text("#spent")
    assert page.browser.get_log("browser") == []


def test_words_for_now_steer_the_list_and_are_remembered_only_on_request(
    browser: webdriver.Chrome, tmp_path: Path, reading: Agent
) -> None:
    engine = reading.engine
    words = engine.catalogue.title(3)
    with listening(engine) as (port, app):
        page = Page(browser, engine, port, app.state.sessions.ticket, tmp_path)
        page.open()
        page.one("#words").send_keys(words, Keys.ENTER)
        page.until(lambda: f"asking for “{words}”" in page.text(".reasons"), "the words are a reason")
        assert "not stored" in page.text(".chip.own")
        assert engine.store.events() == []
        page.click(".chip.own button")
        page.until(lambda: f"searched for “{words}”" in page.text("#context-chips"), "the search is remembered")
        assert not page.all(".chip.own")
        assert [stored.event.text for stored in engine.store.events()] == [words]


def test_what_was_turned_away_is_seen_and_let_in_again(page: Page) -> None:
    page.open()
    page.say("not_this_topic")
    page.until(lambda: "topic" in page.text("#turned-away"), "the topic is listed")
    page.click("#turned-away button")
    page.until(lambda: not page.all("#turned-away button"), "it is let in again")


def test_the_person_says_for_how_long_events_are_kept(page: Page) -> None:
    page.open()
    page.until(lambda: page.all("#keep-for option"), "there is a choice")
    assert not page.one("#keep").is_enabled()
    choice = Select(page.one("#keep-for"))
    choice.select_by_visible_text("for a week")
    choice.select_by_visible_text("for ever")
    assert not page.one("#keep").is_enabled(), "it is kept so"
    choice.select_by_visible_text("for a month")
    assert page.engine.retention.days is None, "what is only passed over deletes nothing"
    page.click("#keep")
    page.until(lambda: "kept for a month" in page.text("#toast"), "the choice is said")
    assert page.engine.retention.days == 30
    assert not page.one("#keep").is_enabled()
    assert page.browser.switch_to.active_element == page.one("#keep-for")


def test_a_choice_that_is_made_while_another_is_on_its_way_is_not_said_to_hold(page: Page) -> None:
    page.open()
    page.until(lambda: page.all("#keep-for option"), "there is a choice")
    page.browser.execute_script(
        "const whole = fetch; window.go = []; window.fetch = async (...asked) => {"
        " if (asked[1]?.method === 'PUT') await new Promise((go) => window.go.push(go)); return whole(...asked); }"
    )
    choice = Select(page.one("#keep-for"))
    choice.select_by_visible_text("for a week")
    page.click("#keep")
    page.until(lambda: page.browser.execute_script("return window.go.length"), "it is on its way")
    choice.select_by_visible_text("for ever")
    page.browser.execute_script("window.go[0]()")
    page.until(lambda: "kept for a week" in page.text("#toast"), "what holds is said")
    assert page.engine.retention.days == 7
    assert page.one("#keep").is_enabled(), "the other choice is still to be made so"


def test_a_hostile_title_is_only_text_and_no_secret_stays_in_the_address(page: Page) -> None:
    page.open()
    assert page.browser.current_url == f"http://127.0.0.1:{page.port}/"
    page.one("#words").send_keys("script", Keys.ENTER)
    page.until(lambda: HOSTILE in page.text("#found"), "the title is found")
    page.click("#found-items button")
    page.until(lambda: HOSTILE in page.text("#toast"), "the title is said")
    assert page.browser.title == "For you"
    for width in (390, 1280):
        page.open(width=width)
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_file_that_the_command_opens_leads_into_the_page(page: Page) -> None:
    ticket = page.ticket()
    sessions = page.ticket.__self__  # type: ignore[attr-defined]
    thread = open_page(
        page.engine.device,
        f"http://127.0.0.1:{page.port}/#ticket={ticket}",
        waiting=lambda: sessions.awaits(ticket),
        browse=page.browser.get,
    )
    page.until(page.cards, "the page is open")
    assert page.browser.current_url == f"http://127.0.0.1:{page.port}/"
    thread.join(PATIENCE)
    assert not (page.engine.device / FILE).exists()
    page.say("like")
    page.browser.refresh()
    page.until(page.cards, "it stays open")
    assert page.browser.get_log("browser") == []


def test_the_page_asks_nobody_but_its_agent_and_sends_no_secret_in_an_address(page: Page) -> None:
    page.open()
    page.say("save")
    asked = []
    for line in page.browser.get_log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert len(asked) > 10
    # The browser's own first tab is no request of the page.
    elsewhere = {
        url for url in asked if not url.startswith((f"http://127.0.0.1:{page.port}/", "chrome:", "about:", "data:"))
    }
    assert elsewhere == set()
    assert not [url for url in asked if "ticket" in url.partition("#")[0]]


def test_the_page_survives_a_reload_and_another_tab_is_not_let_in(page: Page) -> None:
    page.open()
    page.browser.refresh()
    page.until(page.cards, "the reloaded page is let in")
    page.browser.switch_to.new_window("tab")
    page.browser.get(f"http://127.0.0.1:{page.port}/")
    page.until(lambda: "fedrec client page" in page.text("#closed"), "another tab, with the cookie alone, stays closed")
    assert not page.cards()


def test_the_page_is_used_by_keyboard_alone(page: Page) -> None:
    page.open()
    focused = page.browser.switch_to
    focused.active_element.send_keys(Keys.TAB)
    assert focused.active_element.text == "Skip to the recommendations"
    focused.active_element.send_keys(Keys.ENTER)
    for _ in range(3):
        focused.active_element.send_keys(Keys.TAB)
        if focused.active_element.get_attribute("data-action") == "like":
            break
    liked = page.cards()[0]
    ring = focused.active_element.value_of_css_property("outline-style")
    assert ring == "solid"
    focused.active_element.send_keys(Keys.ENTER)
    page.until(lambda: liked not in page.cards(), "Enter on the button likes it")
    page.until(lambda: focused.active_element.tag_name == "h3", "focus stays at its place in the list")
    assert page.all("[aria-live=polite]")

    page.click("#cards > li:first-child .more summary")
    focused.active_element.send_keys(Keys.ESCAPE)
    assert not page.all(".more[open]")

    diversity = page.one("#diversity")
    diversity.send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.engine.steering.diversity > 0.3, "the slider moves by arrow keys")

    page.until(lambda: page.all("#clusters .rename"), "there is an interest")
    page.click("#clusters li:first-child .rename")
    field = page.one("#clusters input")
    field.clear()
    field.send_keys("Evenings", Keys.ENTER)
    page.until(lambda: "Evenings" in page.text("#clusters"), "the interest has its new name")


def test_why_opens_all_parts_of_the_score(page: Page) -> None:
    page.open()
    page.say("like")
    page.click("#cards > li:first-child [data-action=why]")
    page.until(lambda: page.one("#why").is_displayed(), "the dialog is open")
    amounts = [float(part.text.replace("−", "-")) for part in page.all("#why .amount")]
    assert sum(amounts) == pytest.approx(float(page.text("#why .total strong")), abs=2e-4 * len(amounts))
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.one("#why").is_displayed(), "Escape closes it")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Page, scheme: str) -> None:
    took_part(page.engine, 1)
    page.open(scheme=scheme)
    page.say("like")
    for selector in (
        "h1",
        ".note",
        ".meta",
        ".because",
        ".share",
        "button.quiet",
        "button.strong",
        ".danger",
        ".tag",
        ".chip",
        ".chip time",
    ):
        for element in page.all(selector)[:1]:
            assert contrast(page.browser, element) >= 4.5, selector


def test_motion_stops_where_the_person_asked_for_it(page: Page) -> None:
    page.open()
    feature = {"name": "prefers-reduced-motion", "value": "reduce"}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    assert page.one(".dot").value_of_css_property("animation-name") == "none"


def contrast(browser: webdriver.Chrome, element: WebElement) -> float:
    """The contrast ratio of WCAG 2 between an element's text and the first colour behind it."""
    behind = browser.execute_script(
        "for (let at = arguments[0]; at; at = at.parentElement) {"
        " const colour = getComputedStyle(at).backgroundColor;"
        " if (!/, 0\\)$/.test(colour) && colour !== 'transparent') return colour; }",
        element,
    )
    low, high = sorted(luminance(colour) for colour in (behind, element.value_of_css_property("color")))
    return (high + 0.05) / (low + 0.05)


def luminance(css: str) -> float:
    parts = [float(part) / 255 for part in css[css.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
