"""A registry that devices can fetch from: a server that really listens, in a thread of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from fastapi import FastAPI
from starlette.types import ASGIApp

from fedrec.errors import DataError
from fedrec.registry.downloads import downloads, not_now
from fedrec.registry.registry import Registry
from fedrec.web.serve import Running, Server, listen

_SECONDS = 30


def releases_app(registry: Registry) -> FastAPI:
    """What the proxy publishes of the front."""
    app = FastAPI(openapi_url=None, exception_handlers={DataError: not_now})
    app.include_router(downloads(registry))
    return app


@contextmanager
def listening(app: ASGIApp, *, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The port on loopback at which an application answers until the block ends. tls: its certificate and key."""
    with listen(0) as taken:
        ready = Event()
        server = Server.of(app, Running(service="releases", ready=ready.set))
        if tls is not None:
            server.config.ssl_certfile, server.config.ssl_keyfile = tls
        thread = Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            assert ready.wait(_SECONDS)
            yield int(taken.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(_SECONDS)
            assert not thread.is_alive()
