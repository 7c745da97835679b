"""Who may speak to the agent: checked before any of its code sees a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedrec.web.answers import HEADERS, Answer, refusal
from fedrec.web.connections import LET_IN
from fedrec.web.faults import report
from fedrec.web.limits import Buckets, Limits
from fedrec.web.sessions import Sessions, same

SECRET_HEADER = "X-Fedrec-Secret"  # noqa: S105
# The page's own files hold nothing about anybody; the door is where a ticket is shown.
DOOR = "/session"
# Where a caller asks for the proof that this is the agent, before it says anything itself.
HELLO = "/hello"
_STRANGER, _PRODUCT = "stranger", "product"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request is held against.

    port: where the agent listens. token: the bearer's. open_paths: the page's own files, which
    hold nothing about anybody.
    """

    port: int
    token: str
    sessions: Sessions
    open_paths: frozenset[str]
    limits: Limits = field(default_factory=Limits)

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which this service is called."""
        return frozenset({f"127.0.0.1:{self.port}", f"localhost:{self.port}"})

    @property
    def cookie(self) -> str:
        """The session cookie's name: cookies ignore ports, two agents must not overwrite each other's."""
        return f"fedrec_{self.port}"


class Guard:
    """ASGI middleware around the whole agent.

    Refuses a foreign Host (a name that was made to point here), a foreign Origin, a body that is
    too large, a caller without token or session, one that asks too often; and answers any fault
    inside with one line, so that no traceback, which may hold a title, reaches a log.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access
        self.buckets = Buckets(limits=access.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        guarded = _Sender(send)
        no = self._refusal(scope, Headers(scope=scope))
        if no is None:
            most = self._most(scope)
            try:
                body = await _body(receive, most=most)
            except ClientDisconnect:
                return
            no = await self._inside(scope, _again(body), guarded) if body is not None else _too_large(most)
        if no is not None and not guarded.began:
            await no(scope, receive, guarded)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Hand a request to the agent; what it has to say no with if that failed."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            report(error)
            return refusal(500, "The agent failed at this request. Where it failed is in its own output.")
        return None

    def _refusal(self, scope: Scope, headers: Headers) -> Answer | None:
        """What is wrong with a request, in the order of what is cheapest to see."""
        if not _from_here(scope, headers, self.access):
            return refusal(403, "This service answers only to its own address and its own page.")
        caller, problem = self._caller(scope, headers)
        # What is open costs no more to answer than to refuse: a stranger cannot use up the owner's way in.
        seconds = 0 if self._is_open(scope) else self.buckets.wait(caller)
        if seconds:
            wait = {"Retry-After": str(seconds)}
            return refusal(429, f"Too many requests. Ask again in {seconds} s.", headers=wait)
        if problem is not None:
            return problem
        if caller != _STRANGER:
            scope.setdefault("state", {})[LET_IN] = True
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and len(announced) < 12:
            return None if int(announced) <= self._most(scope) else _too_large(self._most(scope))
        return refusal(400, "Content-Length is not a number of bytes.")

    def _is_open(self, scope: Scope) -> bool:
        """Whether anybody on this machine may ask: the page's own files, the door, the proof of who answers."""
        return scope["path"] in self.access.open_paths or scope["path"] in (DOOR, HELLO)

    def _most(self, scope: Scope) -> int:
        """Bytes that a request may hold here."""
        limits = self.access.limits
        return min(limits.open_bytes, limits.body_bytes) if self._is_open(scope) else limits.body_bytes

    def _caller(self, scope: Scope, headers: Headers) -> tuple[str, Answer | None]:
        """Whose bucket pays for a request, and why it may not go on."""
        if self._is_open(scope):
            return _STRANGER, None
        given = headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        if given:
            if scheme.lower() == "bearer" and same(token.strip(), self.access.token):
                return _PRODUCT, None
            return _STRANGER, _unknown("The token is not this agent's; it lies in agent.token of the device folder.")
        session = self.access.sessions.holder(cookie_of(headers, self.access.cookie))
        if session is None:
            return _STRANGER, _unknown("Send the token of agent.token as `Authorization: Bearer TOKEN`.")
        if not same(headers.get(SECRET_HEADER, ""), session.secret):
            return _STRANGER, refusal(403, f"A session's cookie needs the header {SECRET_HEADER} beside it.")
        return session.cookie, None


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    """The value of a cookie, or an empty text."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _from_here(scope: Scope, headers: Headers, access: Access) -> bool:
    """Whether a request names this service, and comes from its own page or from no page.

    A link from elsewhere may open the page itself: that shows nothing until a ticket comes.
    """
    if len(headers.getlist("host")) != 1 or headers["host"].lower() not in access.hosts:
        return False
    origins = {f"http://{host}" for host in access.hosts}
    if any(origin.lower() not in origins for origin in headers.getlist("origin")):
        return False
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return True
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return opened and scope["method"] == "GET" and scope["path"] == "/"


async def _body(receive: Receive, *, most: int) -> bytes | None:
    """The whole body; None where it passes `most` bytes (one in chunks announces no length).

    Raises ClientDisconnect where the caller left before the end: half a request is none, even
    where the half makes sense.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes) -> Receive:
    """What was read already, for the one that reads it next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


class _Sender:
    """Sends what comes with the headers that every answer has, and knows whether it began."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.began = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await self.send(message)


def _too_large(most: int) -> Answer:
    return refusal(413, f"A request may hold {most:,} bytes. Send fewer events at a time.")


def _unknown(message: str) -> Answer:
    return refusal(401, message, headers={"WWW-Authenticate": "Bearer"})
