"""The SuperLink of a service's folder, started by a test."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedrec.service.config import load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.programs import programs, superlink_answers
from fedrec.service.superlink import flower_environment
from tests.federation.superlinks import running


@contextmanager
def the_superlink(folder: ServiceFolder, log: Path) -> Iterator[None]:
    """As the service starts it: its ServerApps are started by another program, which shows a secret too."""
    network = load_service(folder).network
    first = programs(folder, network, once=False)[0]
    with running(list(first.command), dict(first.environment), log) as process:
        while not superlink_answers(folder, network):
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        yield


@contextmanager
def a_superlink(folder: ServiceFolder, log: Path) -> Iterator[None]:
    """It answers under the service's certificate, admits registered nodes only, and starts ServerApps itself."""
    network = load_service(folder).network
    command: list[Path | str] = [
        *(
            sys.executable,
            "-m",
            "fedrec.federation.superlink_process",
            "--host",
            "127.0.0.1",
            "--port",
            str(network.fleet_port),
        ),
        *("--ssl-ca-certfile", folder.ca_certificate, "--ssl-certfile", folder.server_certificate),
        *("--ssl-keyfile", folder.server_key, "--database", folder.superlink_database),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
    ]
    with running(command, os.environ | flower_environment(folder), log) as process:
        while not superlink_answers(folder, network):
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        yield
