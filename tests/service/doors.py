"""A real proxy with the config of a service, in front of two programs that only say what reached them."""

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder
from fedrec.service.rendering import proxy_program
from fedrec.service.setup import make_service

_WAIT = 30.0


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses now."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in taken]
    for each in taken:
        each.close()
    return ports


class _Behind(ThreadingHTTPServer):
    """Answers every request with its own name, and keeps what reached it."""

    daemon_threads = True

    def __init__(self, port: int, name: str) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.name = name
        self.reached: list[str] = []
        self.headers: list[dict[str, str]] = []


class _Answer(BaseHTTPRequestHandler):
    server: _Behind
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.reached.append(self.requestline.rpartition(" ")[0])
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        said = f"{self.server.name} {len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Door:
    """The proxy of a service, and what is behind it."""

    folder: ServiceFolder
    port: int
    superlink: _Behind
    front: _Behind
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(cafile=self.folder.ca_certificate)

    def ask(self, target: str, *, method: str = "GET", body: bytes = b"", headers: str = "") -> tuple[int, str]:
        """Status and content of the answer to a request that is sent just so, whatever it spells."""
        request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
        return self.send(f"{request}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    def ask_often(self, target: str, *, method: str, times: int) -> list[int]:
        """The status of each of many requests that are sent at once, without waiting for an answer."""
        request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        last = f"{request}Connection: close\r\n\r\n"
        said = self._answers((f"{request}\r\n" * (times - 1) + last).encode())
        return [int(status) for status in re.findall(r"HTTP/1\.1 (\d+) ", said)]

    def send(self, request: bytes) -> tuple[int, str]:
        """Status and content of the answer to these bytes."""
        head, _, content = self._answers(request).partition("\r\n\r\n")
        return int(head.split()[1]) if head else 0, content

    def _answers(self, request: bytes) -> str:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=_WAIT) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.settimeout(_WAIT)
            with suppress(OSError):  # the proxy may say no before it has read everything
                secured.sendall(request)
            answer = b""
            while part := _read(secured):
                answer += part
        return answer.decode("latin-1")


def _read(secured: ssl.SSLSocket) -> bytes:
    try:
        return secured.recv(65536)
    except OSError:
        return b""


@contextmanager
def door(folder: Path, *, superlink_of: Path | None = None) -> Iterator[Door]:
    """A service's proxy that runs until the block ends.

    superlink_of: where to make another service, whose certificate the SuperLink shows.
    """
    public, fleet, front = free_ports(3)
    network = NetworkConfig(names=("localhost",), public_port=public, fleet_port=fleet, front_port=front)
    made = make_service(folder, network=network, now=datetime.now(UTC))
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown = make_service(superlink_of, network=network, now=datetime.now(UTC)) if superlink_of else made
    trust.load_cert_chain(shown.server_certificate, shown.server_key)
    superlink, releases = _Behind(fleet, "superlink"), _Behind(front, "front")
    superlink.socket = trust.wrap_socket(superlink.socket, server_side=True)
    threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in (superlink, releases)]
    for thread in threads:
        thread.start()
    proxy = subprocess.Popen(
        [proxy_program(), "-p", made.proxy, "-c", made.deploy / "nginx.conf"], stderr=subprocess.PIPE
    )
    try:
        _wait_for(proxy, public)
        yield Door(made, public, superlink, releases)
    finally:
        proxy.terminate()
        proxy.communicate(timeout=_WAIT)
        for each, thread in zip((superlink, releases), threads, strict=True):
            each.shutdown()
            thread.join()
            each.server_close()


def _wait_for(proxy: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _WAIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=_WAIT).close()
        except OSError:
            assert proxy.poll() is None, proxy.stderr and proxy.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return
