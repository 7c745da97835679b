"""How callers begin: the proof of who answers, and the ticket that becomes a session."""

from fastapi import APIRouter, Request, Response

from fedrec.agent.routes.asking import REFUSALS, Entrance
from fedrec.agent.schemas import Ticket
from fedrec.agent.wire import PageAddress
from fedrec.web.access import cookie_of
from fedrec.web.documented import Nonce
from fedrec.web.proofs import proof
from fedrec.web.refusals import NoEntryError
from fedrec.web.wire import Entered, Hello

# Where a ticket is shown, and where a caller asks for the proof that this is the agent.
DOOR = "/session"
HELLO = "/hello"

# The addresses that ask for no token: one proves who answers, the other takes the ticket.
entrance = APIRouter(tags=["page"], responses=REFUSALS)
router = APIRouter(prefix="/v1", tags=["page"], responses=REFUSALS)


@entrance.get(HELLO)
def hello(request: Request, nonce: Nonce) -> Hello:
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
