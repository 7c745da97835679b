"""An agent that really listens: in a thread of the tests, on a free port of loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from fedrec.agent.app import create_app
from fedrec.agent.tokens import agent_token
from fedrec.ondevice.engine import Engine
from fedrec.web.limits import Limits
from fedrec.web.serve import Running, Server, listen

_START_SECONDS = 30


@contextmanager
def listening(engine: Engine, *, limits: Limits | None = None) -> Iterator[tuple[int, Any]]:
    """The port of a running agent and its application; it has stopped when the block ends."""
    with listen(0) as taken:
        port = int(taken.getsockname()[1])
        app = create_app(engine, token=agent_token(engine.device), port=port, limits=limits)
        ready = Event()
        server = Server.of(app, Running(service="agent", ready=ready.set))
        thread = Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            assert ready.wait(_START_SECONDS)
            yield port, app
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)
            assert not thread.is_alive()
