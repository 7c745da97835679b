"""Pictures of the page for the docs, of any device: python -m tests.agent.screenshots DEVICE docs/images.

Not a test: pictures change only when somebody asks for them, and are looked at before they are kept.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedrec.ondevice.engine import Engine
from tests.agent.serving import listening
from tests.agent.test_page_in_browser import Page
from tests.web.browsing import chromium

# Wide enough for two columns, and a phone's.
_SHOTS = {"page-light": (1280, "light"), "page-dark": (1280, "dark"), "page-phone": (390, "light")}
_HEIGHT = {1280: 1500, 390: 1100}


def take(device: Path, out: Path) -> None:
    """Write page-light.png, page-dark.png and page-phone.png."""
    out.mkdir(parents=True, exist_ok=True)
    with opened(device) as page:
        for name, (width, scheme) in _SHOTS.items():
            page.open(width=width, scheme=scheme)
            page.until(lambda: page.all("#clusters li"), "the interests are there")
            page.size(width, _HEIGHT[width])
            page.browser.save_screenshot(str(out / f"{name}.png"))


@contextmanager
def opened(device: Path) -> Iterator[Page]:
    """The page of a device in a browser."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine.open(device) as engine,
        listening(engine) as (port, app),
        chromium(Path(folder)) as browser,
    ):
        yield Page(browser, engine, port, app.state.sessions.ticket, Path(folder))


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
