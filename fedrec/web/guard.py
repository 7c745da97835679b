"""What stands around a service: a request is checked before any of the service's code sees it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedrec.web.access import Access
from fedrec.web.answers import HEADERS, Answer, refusal
from fedrec.web.connections import LET_IN
from fedrec.web.faults import report
from fedrec.web.limits import Buckets

# Set in a request's scope: the caller, for those who write down who asked.
CALLER = "caller"


class Guard:
    """ASGI middleware around a whole service.

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
            most = self.access.most(scope)
            try:
                body = await _body(receive, most=most)
            except ClientDisconnect:
                return
            no = await self._inside(scope, _again(body, receive), guarded) if body is not None else _too_large(most)
        if no is not None and not guarded.began:
            await no(scope, receive, guarded)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Hand a request to the service; what it has to say no with if that failed."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            report(error, service=self.access.service)
            return refusal(500, f"The {self.access.service} failed at this request. Its own output says where.")
        return None

    def _refusal(self, scope: Scope, headers: Headers) -> Answer | None:
        """What is wrong with a request, in the order of what is cheapest to see."""
        if not self.access.is_addressed(scope, headers):
            return refusal(403, "This service answers only to its own address and its own page.")
        caller, problem = self.access.caller(scope, headers)
        # What is open costs no more to answer than to refuse: a stranger cannot use up the owner's way in.
        seconds = 0 if self.access.is_open(scope) else self.buckets.wait(caller.bucket)
        if seconds:
            wait = {"Retry-After": str(seconds)}
            return refusal(429, f"Too many requests. Ask again in {seconds} s.", headers=wait)
        if problem is not None:
            return problem
        state = scope.setdefault("state", {})
        state[CALLER] = caller
        if caller.known:
            state[LET_IN] = True
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and len(announced) < 12:
            most = self.access.most(scope)
            return None if int(announced) <= most else _too_large(most)
        return refusal(400, "Content-Length is not a number of bytes.")


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


def _again(body: bytes, later: Receive) -> Receive:
    """What was read already, for the one that reads it next; then whatever comes, such as the caller's leaving."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await later()

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
    return refusal(413, f"A request may hold {most:,} bytes. Send less at a time.")
