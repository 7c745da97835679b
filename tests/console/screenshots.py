"""Pictures of the console for the docs: python -m tests.console.screenshots docs/images.

Not a test: pictures change only when somebody asks for them, and are looked at before they are kept.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.console.serving import listening
from tests.console.test_page_in_browser import Desk
from tests.console.worlds import Shop, a_service, busy, opened
from tests.web.browsing import chromium

_SHOTS = {"console-light": (1280, 1560, "light"), "console-dark": (1280, 1560, "dark")}
_PHONE = {"console-phone": (390, 2600, "light")}


def take(out: Path, *, phone: bool = False) -> None:
    """Write console-light.png and console-dark.png, and console-phone.png where it is asked for."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = a_service(Path(place) / "service")
        with opened(folder) as registry:
            films = Shop(folder=folder, registry=registry, name="films").open()
            busy(films, now=int(time.time()))
            books = Shop(folder=folder, registry=registry, name="books").open()
            books.say("paused", at=int(time.time()) - 7200)
            with listening(folder, registry) as (port, console), chromium(Path(place)) as browser:
                desk = Desk(browser, console, port)
                for name, (width, height, scheme) in (_SHOTS | (_PHONE if phone else {})).items():
                    desk.open(catalogue="films", width=width, height=height, scheme=scheme)
                    desk.until(lambda: desk.all("#releases-list li"), "the releases are there")
                    browser.save_screenshot(str(out / f"{name}.png"))


if __name__ == "__main__":
    take(Path(sys.argv[1]), phone="--phone" in sys.argv)
