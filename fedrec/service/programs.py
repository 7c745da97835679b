"""The programs of a service: what is started, with which words, and when it counts as there."""

import http.client
import ssl
import sys
from collections.abc import Mapping

from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.front import HEALTH
from fedrec.service.orphans import MARK
from fedrec.service.processes import Program
from fedrec.service.rendering import program
from fedrec.service.superlink import flower_environment
from fedrec.web.serve import LOOPBACK

SUPERLINK, SUPEREXEC, FRONT, ROUNDS = "superlink", "superexec", "front", "rounds"
_ANSWER_SECONDS = 5.0


def programs(folder: ServiceFolder, network: NetworkConfig, *, once: bool) -> list[Program]:
    """What runs a service, in the order of its start.

    once: the program that keeps the rounds ends when they are done.
    """
    at = ServiceFolder(folder.path.resolve())
    environment = _environment(at)
    quiet = {**environment, "FLWR_LOG_LEVEL": "WARNING"}
    return [
        Program(
            name=SUPERLINK,
            command=_superlink(at, network),
            # Else a line per request: what a device did when.
            environment=quiet,
            log=at.logs / "superlink.log",
            answers=lambda: superlink_answers(at, network),
            port=network.fleet_port,
        ),
        Program(
            name=SUPEREXEC,
            command=_superexec(at, network),
            environment=environment,
            log=at.logs / "superexec.log",
            after=frozenset({SUPERLINK}),
        ),
        Program(
            name=FRONT,
            command=_own("front", at),
            environment=environment,
            log=at.logs / "front.log",
            answers=lambda: front_answers(network),
            port=network.front_port,
        ),
        Program(
            name=ROUNDS,
            command=[*_own("rounds", at), *(["--once"] if once else [])],
            environment=environment,
            log=at.logs / "rounds.log",
            after=frozenset({SUPERLINK, SUPEREXEC}),
            ends=once,
        ),
    ]


def superlink_answers(folder: ServiceFolder, network: NetworkConfig) -> bool:
    """Whether the SuperLink answers under the certificate of this service."""
    try:
        trusting = ssl.create_default_context(cafile=folder.ca_certificate)
        return _answers(
            http.client.HTTPSConnection(LOOPBACK, network.fleet_port, timeout=_ANSWER_SECONDS, context=trusting)
        )
    except (OSError, ssl.SSLError):
        return False


def front_answers(network: NetworkConfig) -> bool:
    """Whether the front answers."""
    return _answers(http.client.HTTPConnection(LOOPBACK, network.front_port, timeout=_ANSWER_SECONDS))


def _answers(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", HEALTH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _superlink(folder: ServiceFolder, network: NetworkConfig) -> list[str]:
    return [
        *(sys.executable, "-m", "fedrec.federation.superlink_process"),
        *("--host", LOOPBACK, "--port", str(network.fleet_port)),
        *("--ssl-ca-certfile", str(folder.ca_certificate)),
        *("--ssl-certfile", str(folder.server_certificate)),
        *("--ssl-keyfile", str(folder.server_key)),
        *("--database", str(folder.superlink_database)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        # Its ServerApps are started by the next program, which is watched too; one of its own would not be.
        *("--isolation", "process", "--superexec-auth-secret-file", str(folder.superexec_secret)),
    ]


def _superexec(folder: ServiceFolder, network: NetworkConfig) -> list[str]:
    return [
        *(sys.executable, "-m", "fedrec.federation.superexec_process"),
        *("--runtime-api-address", f"{LOOPBACK}:{network.fleet_port}"),
        *("--root-certificates", str(folder.ca_certificate)),
        *("--superexec-auth-secret-file", str(folder.superexec_secret)),
    ]


def _own(part: str, folder: ServiceFolder) -> list[str]:
    return [str(program("fedrec")), "server", part, str(folder.path)]


def _environment(folder: ServiceFolder) -> Mapping[str, str]:
    return {
        **flower_environment(folder),
        MARK: str(folder.path),
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        # Loopback is reached directly, whatever proxy this machine uses for the world.
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
    }
