"""The browser is sent to the page by a file: nothing that other users can read holds the ticket."""

import stat
from pathlib import Path
from threading import Event
from urllib.parse import unquote, urlsplit

from fedrec.agent.opening import FILE, close_way, open_page
from fedrec.web.sessions import TICKET_SECONDS, Sessions

ADDRESS = "http://127.0.0.1:8799/#ticket=a-ticket"


class Waiting:
    """Somebody who has not come in yet."""

    def __init__(self) -> None:
        self.came = Event()

    def __call__(self) -> bool:
        return not self.came.is_set()


def test_the_command_of_the_browser_names_a_file_of_the_owner_and_no_ticket(tmp_path: Path) -> None:
    waiting, given = Waiting(), list[str]()
    thread = open_page(tmp_path, ADDRESS, waiting=waiting, browse=given.append)
    way = tmp_path / FILE
    assert stat.S_IMODE(way.stat().st_mode) == 0o600
    assert f'url={ADDRESS}"' in way.read_text()
    waiting.came.set()
    thread.join(10)
    assert not way.exists()
    assert Path(unquote(urlsplit(given[0]).path)) == way
    assert given[0].startswith("file:///")
    assert "ticket" not in given[0]


def test_the_agent_does_not_wait_for_a_browser_that_takes_its_time(tmp_path: Path) -> None:
    shown = Event()
    thread = open_page(tmp_path, ADDRESS, waiting=lambda: False, browse=lambda _: shown.wait(10))
    assert thread.is_alive()
    shown.set()
    thread.join(10)
    assert not (tmp_path / FILE).exists()


def test_what_a_killed_agent_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("left")
    close_way(tmp_path)
    close_way(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_ticket_is_awaited_until_it_is_used_or_too_old() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    used, late = sessions.ticket(), sessions.ticket()
    assert sessions.awaits(used)
    sessions.enter(used)
    assert not sessions.awaits(used)
    now[0] = TICKET_SECONDS
    assert sessions.awaits(late)
    now[0] += 1
    assert not sessions.awaits(late)
    assert not sessions.awaits("none")
