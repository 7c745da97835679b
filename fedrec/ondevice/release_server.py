"""Asking a server for releases over HTTPS: bounded in bytes and in time, and gone on with after a break.

Nothing here trusts an answer. Whoever asks knows how large it may be, and checks it afterwards.
"""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from fedrec.errors import ConfigError, DataError, VerificationError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SILENT_SECONDS = 30.0
# An answer may take this long, and a second more for each of so many bytes.
_ANSWER_SECONDS, _SLOWEST_BYTES = 60.0, 2000
_BLOCK = 1 << 18
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{1,200}"')


class NotThereError(DataError):
    """The server answers, and has nothing at this address."""


class ReleaseServer:
    """The addresses under one URL, on one connection that is opened again when it was cut.

    Asks no proxy and follows no redirect. Every method raises DataError where the server does not answer.
    """

    def __init__(self, url: str, *, ca: Path | None = None) -> None:
        parts = _parsed(url)
        self.name = parts.netloc
        self._base = parts.path.rstrip("/")
        self._connection = _Connection(parts, _trust(ca) if parts.scheme == "https" else None)
        self._late = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def content(self, path: str, *, most: int, etag: str | None = None) -> tuple[bytes, str | None] | None:
        """An answer of at most `most` bytes and its ETag; None if it is still the one of `etag`."""
        headers = {"If-None-Match": etag} if etag else {}
        with self._answer(path, headers, most=most) as answer:
            if answer.status == 304 and etag:
                return None
            self._require(answer, 200)
            content = answer.read(most + 1)
            if len(content) > most:
                raise self._too_much(most)
            given = answer.headers.get("ETag", "")
            return content, given if _ETAG.fullmatch(given) else None

    def part(self, path: str, target: Path, *, size: int, etag: str) -> None:
        """Add to a file what it lacks of the `size` bytes at `path`; what came before a break stays.

        etag: of the file as it was when its first part came; another one is fetched from its start.
        """
        with target.open("ab") as file:
            have = file.tell()
            headers = {"Range": f"bytes={have}-", "If-Range": etag} if have else {}
            with self._answer(path, headers, most=size - have) as answer:
                if not (have and answer.status == 206 and _begins_at(answer, have)):
                    self._require(answer, 200)
                    file.truncate(0)
                    have = 0
                if answer.length is not None and answer.length > size - have:
                    raise self._too_much(size)
                while have < size and (block := answer.read(min(_BLOCK, size - have))):
                    have += file.write(block)
        if have < size:
            raise self._broken_off()

    @contextmanager
    def _answer(self, path: str, headers: dict[str, str], *, most: int) -> Iterator[HTTPResponse]:
        """The answer to a request, for as long as one of that size may take."""
        seconds = _ANSWER_SECONDS + most / _SLOWEST_BYTES
        self._late = False
        watch = threading.Timer(seconds, self._give_up)
        watch.daemon = True
        watch.start()
        answer: HTTPResponse | None = None
        try:
            answer = self._asked(path, headers)
            yield answer
        except (HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
            raise self._broken_off(type(error).__name__) from None
        finally:
            watch.cancel()
            if answer is None or not answer.isclosed():
                # What is left of it may be endless.
                self._connection.close()
            if answer is not None:
                answer.close()

    def _asked(self, path: str, headers: dict[str, str]) -> HTTPResponse:
        """The beginning of an answer; a connection that the server closed meanwhile is opened once more."""
        open_before = self._connection.sock is not None
        try:
            return self._once(path, headers)
        except (ConnectionError, HTTPException):
            if not open_before or self._late:
                raise
        return self._once(path, headers)

    def _once(self, path: str, headers: dict[str, str]) -> HTTPResponse:
        try:
            if self._connection.sock is None:
                self._connect()
            self._connection.request("GET", self._base + path, headers=headers)
            return self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> None:
        """Connected; raises DataError if nobody is there, or whoever it is has no certificate that counts."""
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise DataError(
                f"{self.name} has no certificate that this device trusts ({error.verify_message}). "
                "Name the authority's with --ca, if you trust it."
            ) from None
        except OSError as error:
            why = "it took too long" if self._late else error.strerror or type(error).__name__
            raise DataError(f"{self.name} cannot be reached ({why}). Check --from and the network.") from None

    def _require(self, answer: HTTPResponse, status: int) -> None:
        if answer.status == status and answer.headers.get("Content-Encoding", "identity") == "identity":
            return
        if answer.status == 404:
            raise NotThereError(f"{self.name} has no such release or catalogue. Check --from and --catalogue.")
        if answer.status in (429, 503):
            raise DataError(f"{self.name} cannot answer now. Ask again in a minute.")
        raise DataError(f"{self.name} answers with status {answer.status}, not with releases. Check --from.")

    def _give_up(self) -> None:
        """Cut the connection under whoever waits for it."""
        self._late = True
        if (waiting := self._connection.wire) is not None:
            with suppress(OSError):
                # The plain way: a goodbye in TLS would wait for the other side.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def _broken_off(self, why: str = "it broke off") -> DataError:
        why = "it took too long" if self._late else why
        return DataError(f"The answer of {self.name} did not come whole ({why}). Ask again: it goes on from there.")

    def _too_much(self, most: int) -> VerificationError:
        return VerificationError(f"{self.name} sends more than the {most} bytes that were asked for. Nothing was used.")


class _Connection(HTTPConnection):
    """A connection that can be cut from its first byte on, its handshake included.

    wire: its socket, also while an answer without a stated end is read, when `sock` is None already.
    """

    wire: socket.socket | None = None

    def __init__(self, parts: SplitResult, trust: ssl.SSLContext | None) -> None:
        super().__init__(parts.hostname or "", parts.port or (443 if trust else 80), timeout=_SILENT_SECONDS)
        self._trust = trust

    def connect(self) -> None:
        """Connected, and the server's certificate checked, where there has to be one."""
        super().connect()
        self.wire = self.sock
        if self._trust is not None:
            made = self._trust.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self.wire = made
            made.do_handshake()


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        raise ConfigError("--from is no address of a server. Give one such as https://HOST.") from None
    if not sound or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise ConfigError("--from is no address of a server. Give one such as https://HOST.")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ConfigError(f"--from begins with {parts.scheme[:10]!r}. Releases are fetched over https.")
    return parts


def _trust(ca: Path | None) -> ssl.SSLContext:
    """The authorities that may vouch for the server: only this one, or those of the system."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{ca} holds no certificate ({type(error).__name__}). Name the authority's with --ca."
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _begins_at(answer: HTTPResponse, start: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
