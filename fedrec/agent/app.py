"""The agent: the engine of one device as a service on loopback, behind its guard."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from fedrec import __version__
from fedrec.agent.routes import door, lists, rights, taste
from fedrec.agent.routes.asking import NotHereError
from fedrec.errors import FedrecError, RefusedError
from fedrec.ondevice.engine import Engine
from fedrec.web.answers import Answer, refusal
from fedrec.web.guard import Access, Guard
from fedrec.web.limits import Limits
from fedrec.web.sessions import Sessions

_ABOUT = (
    "Recommendations of one device, for the person who holds it. Listens on loopback only. Every request but `/hello`, "
    "`/session` and the page's own files carries `Authorization: Bearer TOKEN`, the token of agent.token in the device "
    "folder; it is another one each time that the agent starts."
)


def create_app(engine: Engine, *, token: str, port: int, limits: Limits | None = None) -> FastAPI:
    """The agent's application; `port` is where it will be reached on 127.0.0.1."""
    sessions, files = Sessions(), door.page_files()
    access = Access(port=port, token=token, sessions=sessions, open_paths=frozenset(files), limits=limits or Limits())
    app = FastAPI(
        title="fedrec agent",
        description=_ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Answer,
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={
            FedrecError: _refused,
            RequestValidationError: _not_understood,
            HTTPException: _not_served,
        },
    )
    app.state.token = token
    app.state.engine, app.state.sessions, app.state.port, app.state.cookie = engine, sessions, port, access.cookie
    for path, file in files.items():
        app.add_route(path, _serving(file), include_in_schema=False)
    app.include_router(door.entrance)
    for part in (door, lists, taste, rights):
        # For the document only: the guard has let the caller in by then, or has not.
        app.include_router(part.router, dependencies=[Security(HTTPBearer(auto_error=False))])
    return app


def _serving(file: Response) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers with one of the page's files."""

    async def serve(_: Request) -> Response:
        return file

    return serve


async def _refused(_: Request, error: FedrecError) -> Response:
    """fedrec's own refusals: its line, under the status of its kind."""
    kinds = {NotHereError: 404, door.NoEntryError: 401, RefusedError: 409}
    status = next((status for kind, status in kinds.items() if isinstance(error, kind)), 422)
    return refusal(status, str(error), headers={"WWW-Authenticate": "Bearer"} if status == 401 else None)


async def _not_understood(_: Request, error: RequestValidationError) -> Response:
    """The first thing that is wrong with a request: where, and what. Never what was sent."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    status = 400 if first["type"] == "json_invalid" else 422
    return refusal(status, f"{place}: {first['msg']}." if place else f"{first['msg']}.")


async def _not_served(_: Request, error: HTTPException) -> Response:
    """What the routing refuses: an address or a method that is not there, a body that is no text."""
    words = {404: "There is nothing at this address.", 405: "This address does not take that method."}
    message = words.get(error.status_code, "The body cannot be read. Send JSON in UTF-8.")
    return refusal(error.status_code, message, headers=dict(error.headers or {}))
