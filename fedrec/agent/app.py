"""The agent: the engine of one device as a service on loopback, behind its guard."""

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.middleware import Middleware

from fedrec import __version__
from fedrec.agent.routes import door, lists, rights, taste
from fedrec.agent.tokens import FILE
from fedrec.ondevice.engine import Engine
from fedrec.web.access import Access
from fedrec.web.answers import Answer
from fedrec.web.guard import Guard
from fedrec.web.limits import Limits
from fedrec.web.pages import page_files, serve_page
from fedrec.web.refusals import HANDLERS
from fedrec.web.sessions import Sessions

_ABOUT = (
    "Recommendations of one device, for the person who holds it. Listens on loopback only. Every request but `/hello`, "
    "`/session` and the page's own files carries `Authorization: Bearer TOKEN`, the token of agent.token in the device "
    "folder; it is another one each time that the agent starts."
)


def create_app(engine: Engine, *, token: str, port: int, limits: Limits | None = None) -> FastAPI:
    """The agent's application; `port` is where it will be reached on 127.0.0.1."""
    sessions, files = Sessions(), page_files("fedrec.agent", at="/", files="/page")
    access = Access(
        service="agent",
        token=token,
        token_file=f"{FILE} of the device folder",
        # Cookies ignore ports: two agents must not overwrite each other's.
        cookie=f"fedrec_{port}",
        sessions=sessions,
        hosts=frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}),
        open_paths=frozenset({*files, door.DOOR, door.HELLO}),
        limits=limits or Limits(),
    )
    app = FastAPI(
        title="fedrec agent",
        description=_ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Answer,
        middleware=[Middleware(Guard, access=access)],
        exception_handlers=HANDLERS,
    )
    app.state.token = token
    app.state.engine, app.state.sessions, app.state.port, app.state.cookie = engine, sessions, port, access.cookie
    serve_page(app, files)
    app.include_router(door.entrance)
    for part in (door, lists, taste, rights):
        # For the document only: the guard has let the caller in by then, or has not.
        app.include_router(part.router, dependencies=[Security(HTTPBearer(auto_error=False))])
    return app
