"""Running a service: its programs in their order, one instance per folder, and a clean end."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from fedrec.data.store.locks import Lock
from fedrec.errors import FedrecError, RefusedError
from fedrec.service.certificates import RENEW_DAYS, days_left, shown_to_devices
from fedrec.service.config import load_service
from fedrec.service.custody import require_custody
from fedrec.service.folder import ServiceFolder
from fedrec.service.keeping import KEEPS_FAILING
from fedrec.service.logs import open_log
from fedrec.service.orphans import end_leftovers, take_in_orphans
from fedrec.service.programs import ROUNDS, programs
from fedrec.service.supervisor import Supervisor

_TICK_SECONDS = 0.5
_DAY_SECONDS = 86_400.0


def run_service(
    folder: ServiceFolder, *, once: bool, stopping: threading.Event, begins: Callable[[], None] = lambda: None
) -> int:
    """Run the service until `stopping` is set; the code to exit with.

    begins: called once no other process can serve the folder. once: end when every catalogue's
    rounds are done or stopped, with 1 if some keep failing.
    Raises RefusedError where the folder is served already, VerificationError where a key is gone
    or read by others.
    """
    config = load_service(folder)
    require_custody(folder)
    # What Flower's programs make is for the owner alone, too.
    os.umask(0o077)
    with _alone(folder):
        take_in_orphans()
        log = open_log(folder.logs / "service.log", part="service")
        if ended := end_leftovers(str(folder.path.resolve())):
            log.warning("processes of an earlier service were ended", count=ended)
        supervisor = Supervisor(programs(folder, config.network, once=once), log=log, state=folder.state)
        log.info("the service begins", pid=os.getpid())
        begins()
        try:
            return _watch(supervisor, folder, log, stopping=stopping, once=once)
        finally:
            supervisor.stop()
            log.info("the service has ended", pid=os.getpid())


def is_running(folder: ServiceFolder) -> bool:
    """Whether some process runs the service of this folder."""
    if not folder.lock.exists():
        return False
    lock = Lock(folder.lock)
    try:
        return not lock.take(shared=True)
    finally:
        lock.close()


def _watch(
    supervisor: Supervisor, folder: ServiceFolder, log: FilteringBoundLogger, *, stopping: threading.Event, once: bool
) -> int:
    told_at = time.monotonic() - _DAY_SECONDS
    rounds = supervisor.named(ROUNDS)
    while not stopping.wait(_TICK_SECONDS):
        supervisor.step()
        if once and (rounds.is_finished or rounds.code == KEEPS_FAILING):
            return 0 if rounds.is_finished else 1
        if time.monotonic() - told_at >= _DAY_SECONDS:
            told_at = time.monotonic()
            _tell_of_certificates(folder, log)
    return 0


def _tell_of_certificates(folder: ServiceFolder, log: FilteringBoundLogger) -> None:
    """Once a day the log says which certificate is about to end."""
    for path in dict.fromkeys((folder.ca_certificate, folder.server_certificate, shown_to_devices(folder)[0])):
        try:
            days = days_left(path, now=datetime.now(UTC))
        except FedrecError as error:
            log.error("a certificate cannot be read", file=path.name, problem=str(error))
            continue
        if days < RENEW_DAYS:
            log.error("a certificate ends soon: fedrec server renew", file=path.name, days=int(days))


@contextmanager
def _alone(folder: ServiceFolder) -> Iterator[None]:
    lock = Lock(folder.lock)
    try:
        if not lock.take():
            raise RefusedError(f"{folder.path} is served already. See `fedrec server status {folder.path}`.")
        yield
    finally:
        lock.close()
