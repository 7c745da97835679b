"""What every route of the console needs: the view, who asks, and the refusals that its document names."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from fedrec.console.live import Live
from fedrec.console.tickets import Tickets
from fedrec.console.view import View
from fedrec.web.access import Access, Caller
from fedrec.web.guard import CALLER
from fedrec.web.wire import Failure

# Said once for every route: what the guard, the reader of requests and the registry may answer.
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body is no JSON."},
    401: {"model": Failure, "description": "No token or session, or not this service's."},
    403: {"model": Failure, "description": "From another host or page, or without the session's secret."},
    413: {"model": Failure, "description": "Larger than one request may be."},
    422: {"model": Failure, "description": "A field is missing, unknown, or of no sense."},
    429: {"model": Failure, "description": "Too many requests; `Retry-After` says when to ask again."},
    503: {"model": Failure, "description": "The registry does not answer; ask again."},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "There is no such thing here."}}
REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Failure, "description": "The registry refuses, or somebody else changed it meanwhile."}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What one console serves. port: where the service's front listens."""

    view: View
    access: Access
    tickets: Tickets
    live: Live
    port: int


def console_of(request: Request) -> Console:
    """The console that this application serves."""
    console: Console = request.app.state.console
    return console


Here = Annotated[Console, Depends(console_of)]
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="A catalogue's name.")]


def caller_of(request: Request) -> Caller:
    """Who asks, as the guard let them in."""
    caller: Caller = getattr(request.state, CALLER)
    return caller


Asker = Annotated[Caller, Depends(caller_of)]


def who(caller: Asker) -> str:
    """Who asks, as it is written down."""
    return f"operator session {caller.session.name}" if caller.session else "operator token"


By = Annotated[str, Depends(who)]
