"""What every route of the agent needs: the engine, and the refusals that its document names."""

from typing import Annotated, Any

from fastapi import Depends, Request

from fedrec.ondevice.engine import Engine
from fedrec.web.refusals import NotHereError
from fedrec.web.sessions import Sessions
from fedrec.web.wire import Failure

# Said once for every route: what the guard, the reader of requests and the engine may answer.
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body is no JSON."},
    401: {"model": Failure, "description": "No token or session, or not this agent's."},
    403: {"model": Failure, "description": "From another host or page, or without the session's secret."},
    409: {"model": Failure, "description": "The device refuses: a budget, a verification, or nothing to go back to."},
    413: {"model": Failure, "description": "Larger than one request may be."},
    422: {"model": Failure, "description": "A field is missing, unknown, or of no sense."},
    429: {"model": Failure, "description": "Too many requests; `Retry-After` says when to ask again."},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "There is no such thing here."}}


def engine_of(request: Request) -> Engine:
    """The engine that this agent serves."""
    engine: Engine = request.app.state.engine
    return engine


def sessions_of(request: Request) -> Sessions:
    """The page's tickets and sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


Device = Annotated[Engine, Depends(engine_of)]
Entrance = Annotated[Sessions, Depends(sessions_of)]


def row_of(engine: Engine, item_id: str) -> int:
    """The catalogue's row of an item; raises NotHereError."""
    row = engine.index.row_of(item_id)
    if row is None:
        raise NotHereError("The catalogue has no item of this id.")
    return row
