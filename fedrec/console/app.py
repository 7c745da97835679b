"""The operator's console as an ASGI application: /console/ and /metrics, behind a guard of its own.

It takes whole paths: whoever serves it beside something else mounts it at `/`, last. It is
meant for loopback; the proxy publishes nothing of it.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer
from starlette.middleware import Middleware

from fedrec import __version__
from fedrec.console.live import Live, Pace
from fedrec.console.metrics import CONTENT_TYPE, Metrics
from fedrec.console.routes import acting, door, reading
from fedrec.console.routes.asking import REFUSALS, Console
from fedrec.console.tickets import Tickets, metrics_token, operator_token
from fedrec.console.view import View
from fedrec.errors import DataError
from fedrec.registry.registry import Registry
from fedrec.service.config import ServiceConfig
from fedrec.service.folder import ServiceFolder
from fedrec.web.access import Access
from fedrec.web.answers import Answer, refusal
from fedrec.web.guard import Guard
from fedrec.web.limits import Limits
from fedrec.web.pages import page_files, serve_page
from fedrec.web.refusals import HANDLERS, NotHereError, refused
from fedrec.web.sessions import Sessions

PAGE = "/console/"
METRICS = "/metrics"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ABOUT = (
    "What the rounds of a service do, and what its operator tells them. Every request but `/console/hello`, "
    "`/console/session` and the page's own files carries `Authorization: Bearer TOKEN`, the token of "
    "keys/operator.token in the service's folder, or a session's cookie and secret. Counts of devices under the "
    "smallest group are not shown."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator hardly ever changes, and tests do. clock: UTC seconds."""

    limits: Limits = field(default_factory=lambda: Limits(body_bytes=1 << 14, rate=20.0, burst=100))
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], float] = time.time


def create_console(
    folder: ServiceFolder, *, config: ServiceConfig, registry: Registry, settings: Settings | None = None
) -> FastAPI:
    """The console of a service. `app.state.console.live.close()` ends its streams.

    Raises VerificationError if the operator token cannot be used.
    """
    settings = settings or Settings()
    token = operator_token(folder)
    view = View(folder=folder, config=config, registry=registry, clock=settings.clock)
    files = page_files("fedrec.console", at=PAGE, files="/console/page")
    files[PAGE.rstrip("/")] = files[PAGE]
    access = _access(config, token, open_paths=frozenset({*files, door.DOOR, door.HELLO}), limits=settings.limits)
    app = FastAPI(
        title="fedrec console",
        description=_ABOUT,
        version=__version__,
        openapi_url="/console/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Answer,
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={**HANDLERS, DataError: _not_now},
    )
    console = Console(
        view=view,
        access=access,
        tickets=Tickets(token=token, clock=settings.clock),
        live=Live(lambda: reading.told(console), settings.pace),
        port=config.network.front_port,
    )
    app.state.console = console
    serve_page(app, files)
    app.include_router(door.entrance)
    for part in (door, reading, acting):
        # For the document only: the guard has let the caller in by then, or has not.
        app.include_router(part.router, dependencies=[Security(HTTPBearer(auto_error=False))])
    _serve_metrics(app, Metrics(view))
    return app


def _access(config: ServiceConfig, token: str, *, open_paths: frozenset[str], limits: Limits) -> Access:
    return Access(
        service="console",
        token=token,
        token_file="keys/operator.token of the service's folder",  # noqa: S106
        # Cookies ignore ports, and two consoles may be looked at through two tunnels.
        cookie=f"fedrec_console_{hashlib.sha256(token.encode()).hexdigest()[:8]}",
        sessions=Sessions(),
        hosts=_LOOPBACK | {name.lower() for name in config.network.names},
        schemes=frozenset({"http", "https"}),
        page=PAGE,
        open_paths=open_paths,
        readers={METRICS: metrics_token(token)},
        local_paths=frozenset({METRICS}),
        limits=limits,
    )


async def _not_now(request: Request, error: DataError) -> Response:
    """What a registry that does not answer leads to; requests themselves are refused before it is asked."""
    if isinstance(error, NotHereError):
        return await refused(request, error)
    return refusal(503, str(error), headers={"Retry-After": "10"})


def _serve_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get(METRICS, tags=["metrics"], responses=REFUSALS, response_class=Response)
    def scrape() -> Response:
        """Prometheus metrics; on the service's own machine without a token."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)
