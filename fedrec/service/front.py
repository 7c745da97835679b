"""The front of a service: the releases, which the proxy publishes, and the operator's pages, which it does not."""

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from fedrec.errors import DataError
from fedrec.registry.downloads import downloads, not_now
from fedrec.registry.registry import Registry
from fedrec.web.answers import Answer, refusal
from fedrec.web.faults import report

HEALTH = "/health"
# Most are devices that fetch a release behind the proxy, which bounds how many there are.
MOST_CONNECTIONS = 512
_NAME = "fedrec front"


def create_front(registry: Registry, *, console: ASGIApp | None = None) -> FastAPI:
    """The front's application; what is none of its own is the console's, which guards itself.

    console: answers `/console/` and `/metrics`, and refuses what it does not know.
    """
    app = FastAPI(
        title=_NAME,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={DataError: not_now, HTTPException: _not_here, Exception: _failed},
    )
    app.add_api_route(HEALTH, _health)
    app.include_router(downloads(registry))
    # What the proxy publishes never comes as far as the console.
    app.add_route("/v1/{rest:path}", _nothing)
    if console is not None:
        app.mount("", console)
    return app


async def _health() -> Answer:
    """That requests are answered: asked by whoever watches the front."""
    return Answer({"answers": True})


async def _nothing(_: Request) -> Response:
    return refusal(404, "There is nothing at this address.")


async def _not_here(_: Request, error: HTTPException) -> Response:
    return refusal(error.status_code, "There is nothing at this address.", headers=dict(error.headers or {}))


async def _failed(_: Request, error: Exception) -> Response:
    report(error, service=_NAME)
    return refusal(500, "The service failed at this request. Its own output says where.")
