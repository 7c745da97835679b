"""How a page comes in: a ticket of one use, changed for a session of two secrets.

The ticket travels in the fragment of the page's address, which browsers send to nobody. It
is not the bearer token: an address ends in the browser's history, where a ticket is worth
nothing once it was used. A session is a cookie AND a secret that the
page keeps in its own storage and sends as a header, because cookies ignore ports: any other
service on this machine that the browser visits would be handed the cookie.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

TICKET_SECONDS = 300
SESSION_SECONDS = 12 * 3600
# More than anybody opens: the oldest is dropped first, so that memory has a bound.
_MOST = 32
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The cookie's value, and the secret that has to come with it."""

    cookie: str
    secret: str
    until: float

    @property
    def name(self) -> str:
        """What may be written down of a session: it tells two apart, and opens nothing."""
        return hashlib.sha256(self.cookie.encode()).hexdigest()[:8]


@dataclass(slots=True, kw_only=True)
class Sessions:
    """Tickets and sessions of this run of a service; in memory only."""

    clock: Callable[[], float] = time.monotonic
    _tickets: dict[str, float] = field(default_factory=dict)
    _sessions: dict[str, Session] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def ticket(self) -> str:
        """A new ticket: good once, for five minutes."""
        made = secrets.token_urlsafe(32)
        with self._lock:
            self._tickets[made] = self.clock() + TICKET_SECONDS
            _keep_newest(self._tickets)
        return made

    def awaits(self, ticket: str) -> bool:
        """Whether a ticket was neither used nor is too old."""
        with self._lock:
            return self._tickets.get(ticket, _NEVER) >= self.clock()

    def enter(self, ticket: str, *, cookie: str = "") -> Session | None:
        """A session for a ticket, which is spent; None if it is unknown, used or too old.

        cookie: of a session that the browser is in already: it goes on, in all of its tabs.
        """
        with self._lock:
            if self._tickets.pop(ticket, _NEVER) < self.clock():
                return None
            return self._begun(cookie)

    def begin(self, *, cookie: str = "") -> Session:
        """A session for one who has shown something else at the door."""
        with self._lock:
            return self._begun(cookie)

    def leave(self, cookie: str) -> None:
        """A session is over, in all of its tabs."""
        with self._lock:
            self._sessions.pop(cookie, None)

    def holder(self, cookie: str) -> Session | None:
        """The session of a cookie, while it lasts."""
        with self._lock:
            return self._holder(cookie)

    def _begun(self, cookie: str) -> Session:
        session = self._holder(cookie) or Session(
            cookie=secrets.token_urlsafe(32),
            secret=secrets.token_urlsafe(32),
            until=self.clock() + SESSION_SECONDS,
        )
        self._sessions[session.cookie] = session
        _keep_newest(self._sessions)
        return session

    def _holder(self, cookie: str) -> Session | None:
        session = self._sessions.get(cookie)
        if session is not None and session.until < self.clock():
            del self._sessions[cookie]
            return None
        return session


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _keep_newest(kept: dict[str, float] | dict[str, Session]) -> None:
    while len(kept) > _MOST:
        kept.pop(next(iter(kept)))
