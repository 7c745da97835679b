"""What an operator sees: all catalogues, one catalogue, and the stream of what changes."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from fedrec.console import wire
from fedrec.console.routes.asking import REFUSALS, Asker, Console, Here, Name
from fedrec.web.access import Caller
from fedrec.web.documented import MISSING
from fedrec.web.wire import Failure

router = APIRouter(prefix="/console/v1", tags=["reading"], responses=REFUSALS)
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Events `state` (an overview), `beat`, `trouble` and `end`.",
    },
    503: {"model": Failure, "description": "As many pages listen as may, or the registry does not answer."},
}


@router.get("/overview")
def overview(here: Here) -> wire.Overview:
    """All catalogues at a glance."""
    return here.view.overview()


@router.get("/catalogues/{name}", responses=MISSING)
def catalogue(name: Name, here: Here) -> wire.Catalogue:
    """Rounds, budget, releases and deeds of one catalogue."""
    return here.view.catalogue(here.view.require(name))


@router.get("/live", responses=_STREAM, response_class=StreamingResponse)
async def live(here: Here, caller: Asker) -> StreamingResponse:
    """The overview whenever it changes, as server-sent events, until the session ends."""
    events = here.live.listen(allowed=lambda: _is_in(here, caller))
    # A proxy that collects answers would hold the events back.
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def told(here: Console) -> dict[str, Any]:
    """What the stream tells."""
    return asdict(here.view.overview())


def _is_in(here: Console, caller: Caller) -> bool:
    return caller.session is None or here.access.sessions.holder(caller.session.cookie) is not None
