"""A console that really listens: in a thread of the tests, on a free port of loopback."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fedrec.console.app import Settings, create_console
from fedrec.console.live import Pace
from fedrec.registry.registry import Registry
from fedrec.service.config import NetworkConfig, ServiceConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.front import create_front
from fedrec.web.serve import listen
from tests.console.conftest import OFTEN, Operated
from tests.web.serving import served

SOON = Pace(listeners=3, look=0.1, beat=0.5)


@contextmanager
def listening(folder: ServiceFolder, registry: Registry) -> Iterator[tuple[int, Operated]]:
    """The port of a service's front with its console, soon told of what changes; it has stopped when the block ends."""
    with listen(0) as taken:
        port = int(taken.getsockname()[1])
        config = ServiceConfig(network=NetworkConfig(front_port=port))
        app = create_console(folder, config=config, registry=registry, settings=Settings(limits=OFTEN, pace=SOON))
        front = create_front(registry, console=app)
        with served(front, taken, service="front", closing=app.state.console.live.close):
            yield port, Operated(app, folder, registry, _Now([0.0]))


class _Now(list[float]):
    """The time as it is: this console's clock is the machine's."""

    def __getitem__(self, _: object) -> float:  # type: ignore[override]
        return time.time()
