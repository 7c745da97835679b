"""What every route of the agent needs: the engine, and the refusals that its document names."""

from typing import Annotated

from fastapi import Depends, Request

from fedrec.ondevice.engine import Engine
from fedrec.web import documented
from fedrec.web.refusals import NotHereError
from fedrec.web.sessions import Sessions

# And what the engine may answer.
REFUSALS: documented.Refusals = {
    **documented.REFUSALS,
    409: documented.refusal_of("The device refuses: a budget, a verification, or nothing to go back to."),
}


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
