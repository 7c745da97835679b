"""An agent that really listens: in a thread of the tests, on a free port of loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedrec.agent.app import create_app
from fedrec.agent.tokens import agent_token
from fedrec.ondevice.engine import Engine
from fedrec.web.limits import Limits
from fedrec.web.serve import listen
from tests.web.serving import served


@contextmanager
def listening(engine: Engine, *, limits: Limits | None = None) -> Iterator[tuple[int, Any]]:
    """The port of a running agent and its application; it has stopped when the block ends."""
    with listen(0) as taken:
        port = int(taken.getsockname()[1])
        app = create_app(engine, token=agent_token(engine.device), port=port, limits=limits)
        with served(app, taken, service="agent"):
            yield port, app
