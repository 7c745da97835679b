"""How an operator comes in and leaves: the proof of who answers, the one-time link or the token, the session's end."""

from fastapi import APIRouter, Request, Response

from fedrec.console.routes.asking import REFUSALS, Asker, Here
from fedrec.console.schemas import Entry
from fedrec.console.wire import Done
from fedrec.web.access import cookie_of
from fedrec.web.documented import Nonce
from fedrec.web.proofs import proof
from fedrec.web.refusals import NoEntryError
from fedrec.web.sessions import same
from fedrec.web.wire import Entered, Hello

DOOR = "/console/session"
HELLO = "/console/hello"
_PATH = "/console"

# The addresses that ask for no session: one proves who answers, the other begins one.
entrance = APIRouter(tags=["session"], responses=REFUSALS)
router = APIRouter(prefix="/console/v1", tags=["session"], responses=REFUSALS)


@entrance.get(HELLO)
def hello(here: Here, nonce: Nonce) -> Hello:
    """Prove to hold the operator token, to who holds it too."""
    return Hello(proof=proof(here.tickets.token, port=here.port, nonce=nonce))


@entrance.post(DOOR)
def enter(entry: Entry, request: Request, response: Response, here: Here) -> Entered:
    """Change a one-time ticket, or the operator token, for a session: a cookie and a secret."""
    if not _opens(entry, here):
        raise NoEntryError(
            "This opens nothing: a link works once and for five minutes. Make a new one with `fedrec server console`."
        )
    cookie = here.access.cookie
    session = here.access.sessions.begin(cookie=cookie_of(request.headers, cookie))
    # Behind an operator's own proxy with TLS the cookie must not travel without it.
    secure = request.headers.get("origin", "").startswith("https://")
    response.set_cookie(cookie, session.cookie, httponly=True, samesite="strict", path=_PATH, secure=secure)
    return Entered(secret=session.secret)


@router.post("/leave")
def leave(response: Response, here: Here, caller: Asker) -> Done:
    """End the session, in all of its tabs; its live streams end with it."""
    if caller.session:
        here.access.sessions.leave(caller.session.cookie)
        response.delete_cookie(here.access.cookie, path=_PATH, httponly=True, samesite="strict")
    return Done(said="Signed out.")


def _opens(entry: Entry, here: Here) -> bool:
    if entry.ticket is not None:
        return here.tickets.spend(entry.ticket)
    return entry.token is not None and same(entry.token, here.tickets.token)
