"""Who may speak to a service of ours: what a request says of itself, held against what the service knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import Scope

from fedrec.web.answers import Answer, refusal
from fedrec.web.limits import Limits
from fedrec.web.sessions import Session, Sessions, same

SECRET_HEADER = "X-Fedrec-Secret"  # noqa: S105
_PORT = re.compile(r":\d{1,5}$")
# What a proxy adds: then the one who asks is not the one who connected.
_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose bucket pays for a request. session: if it came with one. known: with a token or a session."""

    bucket: str
    known: bool = False
    session: Session | None = None


STRANGER = Caller(bucket="stranger")
# A product on the device, an operator's script: whoever holds the token.
_HOLDER = Caller(bucket="token", known=True)
_READER = Caller(bucket="reader", known=True)
_NEIGHBOUR = Caller(bucket="neighbour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request is held against.

    service: what the service calls itself; token_file: where its token lies, in words.
    hosts: the names by which it is called, with a port, or without one where any port will do.
    schemes: how its page is reached. page: the page's own address, which a link may open.
    open_paths: what anybody may ask for. readers: tokens that open one path each, and nothing
    else. local_paths: those of them that need none from this machine itself.
    """

    service: str
    token: str
    token_file: str
    cookie: str
    sessions: Sessions
    hosts: frozenset[str]
    open_paths: frozenset[str]
    page: str = "/"
    schemes: frozenset[str] = frozenset({"http"})
    readers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    local_paths: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

    def is_open(self, scope: Scope) -> bool:
        """Whether anybody may ask: the page's own files, its door, a proof of who answers."""
        return scope["path"] in self.open_paths

    def most(self, scope: Scope) -> int:
        """Bytes that a request may hold here."""
        limits = self.limits
        return min(limits.open_bytes, limits.body_bytes) if self.is_open(scope) else limits.body_bytes

    def is_addressed(self, scope: Scope, headers: Headers) -> bool:
        """Whether a request names this service, and comes from its own page or from no page.

        A link from elsewhere may open the page itself: that shows nothing until somebody signs in.
        """
        if len(headers.getlist("host")) != 1:
            return False
        host = headers["host"].lower()
        if host not in self.hosts and _PORT.sub("", host) not in self.hosts:
            return False
        origins = {f"{scheme}://{host}" for scheme in self.schemes}
        if any(origin.lower() not in origins for origin in headers.getlist("origin")):
            return False
        if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return True
        opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return opened and scope["method"] == "GET" and scope["path"] == self.page

    def caller(self, scope: Scope, headers: Headers) -> tuple[Caller, Answer | None]:
        """Who asks, and why the request may not go on."""
        if self.is_open(scope):
            return STRANGER, None
        given = headers.get("authorization", "")
        if given:
            return self._holder(given, scope["path"])
        if scope["path"] in self.local_paths and _is_neighbour(scope, headers):
            return _NEIGHBOUR, None
        session = self.sessions.holder(cookie_of(headers, self.cookie))
        if session is None:
            return STRANGER, _unknown(f"Send the token of {self.token_file} as `Authorization: Bearer TOKEN`.")
        if not same(headers.get(SECRET_HEADER, ""), session.secret):
            return STRANGER, refusal(403, f"A session's cookie needs the header {SECRET_HEADER} beside it.")
        return Caller(bucket=session.cookie, known=True, session=session), None

    def _holder(self, given: str, path: str) -> tuple[Caller, Answer | None]:
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer":
            if same(token.strip(), self.token):
                return _HOLDER, None
            if path in self.readers and same(token.strip(), self.readers[path]):
                return _READER, None
        return STRANGER, _unknown(f"The token is not this {self.service}'s; it lies in {self.token_file}.")


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    """The value of a cookie, or an empty text."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_neighbour(scope: Scope, headers: Headers) -> bool:
    """Whether a request was made on this machine, and not passed on by a proxy that runs on it."""
    try:
        near = ip_address((scope.get("client") or ("", 0))[0]).is_loopback
    except ValueError:
        return False
    return near and not any(name in headers for name in _PASSED_ON)


def _unknown(message: str) -> Answer:
    return refusal(401, message, headers={"WWW-Authenticate": "Bearer"})
