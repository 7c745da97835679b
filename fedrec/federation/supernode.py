"""A Flower SuperNode of this device as a child process, and how its tasks are reached.

It speaks to the server; what it is sent it hands out on loopback, under TLS with a
certificate made for this one process, to whoever holds a secret made for it too.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedrec.errors import DataError
from fedrec.federation.hidden_files import HiddenFiles, hidden_files
from fedrec.ondevice.loopback import LOOPBACK, loopback_identity

_SECONDS_TO_START = 60.0
_SECONDS_TO_LEAVE = 8.0
_SECRET_BYTES = 32
# Nothing leaves but what a round asks for, and nothing that Flower would keep has a place to lie.
_ENVIRONMENT = {
    "FLWR_HOME": f"{os.devnull}/flower",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


@dataclass(frozen=True, slots=True, repr=False)
class TaskSource:
    """Where a SuperNode's tasks are. address: HOST:PORT; secret: lets one take them; certificate: its own, in PEM."""

    address: str
    secret: bytes
    certificate: bytes


@contextmanager
def supernode(
    server: str, *, authority: Path, node_secret: bytes, log: int = subprocess.DEVNULL
) -> Iterator[TaskSource]:
    """A SuperNode of `server` (HOST:PORT), which this authority vouches for; it has ended when the block ends.

    node_secret: the node's private key in OpenSSH's form, which lies on no disk. log: where it says what it does.
    """
    identity, secret = loopback_identity(), secrets.token_bytes(_SECRET_BYTES)
    contents = {"node": node_secret, "secret": secret, "certificate": identity.certificate, "key": identity.key}
    address = f"{LOOPBACK}:{_free_port()}"
    with hidden_files(contents) as files:
        process = _started(_arguments(server, authority, address, files), files.handles, log)
        try:
            _wait_until_listening(process, address)
        except BaseException:
            _end(process)
            raise
    try:
        yield TaskSource(address, secret, identity.certificate)
    finally:
        _end(process)


def _arguments(server: str, authority: Path, address: str, files: HiddenFiles) -> Sequence[str]:
    host, port = address.split(":")
    return (
        *("--superlink", server, "--root-certificates", str(authority)),
        *("--auth-supernode-private-key", files.paths["node"]),
        # `process`: it starts nothing itself, least of all what a server shipped.
        *("--isolation", "process", "--superexec-auth-secret-file", files.paths["secret"]),
        *("--host", host, "--port", port),
        *("--ssl-certfile", files.paths["certificate"], "--ssl-keyfile", files.paths["key"]),
        *("--ssl-ca-certfile", files.paths["certificate"]),
    )


def _started(arguments: Sequence[str], handles: tuple[int, ...], log: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "fedrec.federation.supernode_process", *arguments],
        env=os.environ | _ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=handles,
    )


def _wait_until_listening(process: "subprocess.Popen[bytes]", address: str) -> None:
    """It has read what it was given, and somebody listens; who it is, the certificate tells."""
    host, port = address.split(":")
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise DataError("The SuperNode of this device does not start. Try again; `--verbose` shows what it says.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The process has said good-bye to the server, or was ended."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()


def _free_port() -> int:
    """A port that nobody listens on now; whoever takes it first lacks the certificate."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
