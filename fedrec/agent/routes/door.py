"""How callers begin: the proof of who answers, the page's own files, and the ticket that becomes a session."""

from importlib import resources
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fedrec.agent.routes.asking import REFUSALS, Entrance
from fedrec.agent.schemas import Ticket
from fedrec.agent.tokens import proof
from fedrec.agent.wire import Entered, Hello, PageAddress
from fedrec.errors import RefusedError
from fedrec.web.guard import DOOR, HELLO, cookie_of

_TYPES = MappingProxyType({".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"})

# The addresses that ask for no token: one proves who answers, the other takes the ticket.
entrance = APIRouter(tags=["page"], responses=REFUSALS)
router = APIRouter(prefix="/v1", tags=["page"], responses=REFUSALS)


class NoEntryError(RefusedError):
    """The ticket opens nothing; the agent answers 401."""


def page_files() -> dict[str, Response]:
    """The page's files by the path under which they are served."""
    found = {}
    for file in resources.files("fedrec.agent").joinpath("page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            found[f"/page/{file.name}"] = Response(file.read_bytes(), media_type=_TYPES[suffix])
    return {"/": found.pop("/page/index.html"), **found}


@entrance.get(HELLO)
def hello(request: Request, nonce: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{16,128}$")]) -> Hello:
    """Prove to hold the token, to who holds it too. Ask this on each connection, before you send the token on it."""
    state = request.app.state
    return Hello(proof=proof(state.token, port=state.port, nonce=nonce))


@entrance.post(DOOR)
def enter(ticket: Ticket, request: Request, response: Response, sessions: Entrance) -> Entered:
    """Change the ticket of the page's address, once, for a session: a cookie and a secret."""
    session = sessions.enter(ticket.ticket, cookie=cookie_of(request.headers, request.app.state.cookie))
    if session is None:
        raise NoEntryError("This address was used already, or is too old. Open the page anew: fedrec client page.")
    response.set_cookie(request.app.state.cookie, session.cookie, httponly=True, samesite="strict", path="/")
    return Entered(secret=session.secret)


@router.post("/page", status_code=201)
def page_address(request: Request, sessions: Entrance) -> PageAddress:
    """An address that opens the person's page, once, within five minutes."""
    return PageAddress(address=f"http://127.0.0.1:{request.app.state.port}/#ticket={sessions.ticket()}")
