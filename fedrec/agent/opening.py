"""The browser's way to the page: a file that only its owner reads, since anybody reads a command line."""

import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from threading import Thread

from fedrec.files import write_atomically

FILE = "agent.open.html"
_LOOK_SECONDS = 0.25
# A file's page sends no referrer and keeps none of itself in the history; the link is for who turned refreshing off.
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>fedrec</title>
<p><a href="{address}">Open your page</a></p>
</html>
"""


def open_page(device: Path, address: str, *, waiting: Callable[[], bool], browse: Callable[[str], object]) -> Thread:
    """Send the person's browser to the page by way of DEVICE/agent.open.html (0600), which is gone after that.

    waiting: whether the address still opens the page. browse: gets the file's address; it may
    take its time, as browsers do that run in a terminal, so a thread of its own waits for it.
    """
    way = device.resolve() / FILE
    write_atomically(way, _PAGE.format(address=escape(address)).encode(), mode=0o600)

    def send() -> None:
        try:
            browse(way.as_uri())
            while waiting():
                time.sleep(_LOOK_SECONDS)
        finally:
            close_way(device)

    thread = Thread(target=send, name="fedrec page", daemon=True)
    thread.start()
    return thread


def close_way(device: Path) -> None:
    """No file leads to the page, not even one that a killed agent left."""
    (device / FILE).unlink(missing_ok=True)
