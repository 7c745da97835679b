"""What every route of the console needs: the view, who asks, and the refusals that its document names."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from fedrec.console.live import Live
from fedrec.console.tickets import Tickets
from fedrec.console.view import View
from fedrec.web import documented
from fedrec.web.access import Access, Caller
from fedrec.web.guard import CALLER

# And what the registry may answer.
REFUSALS: documented.Refusals = {
    **documented.REFUSALS,
    503: documented.refusal_of("The registry does not answer; ask again."),
}
REFUSED: documented.Refusals = {
    409: documented.refusal_of("The registry refuses, or somebody else changed it meanwhile.")
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
