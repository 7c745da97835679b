"""The operator's way in: a link that opens the console once, made by whoever can read the operator token.

The link is made by another process than the one that is shown it, so a ticket vouches for
itself: a time, a number and a MAC under the operator token. The console takes it once, soon, and
only if it was made since the console started, so that a restart does not let a used one in again.
"""

import hmac
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from fedrec.errors import VerificationError
from fedrec.service.folder import ServiceFolder
from fedrec.web.sessions import same

TICKET_SECONDS = 300
_THOUSANDTHS = 1000
_LONGEST = 200


def operator_token(folder: ServiceFolder) -> str:
    """The token of whoever operates the service.

    Raises VerificationError for a file that is not there, is empty, or that others can read.
    """
    path = folder.operator_token
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise VerificationError(f"{path} can be read by others. Replace its content, then `chmod 600` it.")
        token = path.read_text().strip()
    except OSError as error:
        raise VerificationError(f"{path} cannot be read ({error.strerror}). Restore it from a copy.") from None
    if len(token) < 32:
        raise VerificationError(f"{path} holds no token. Restore it from a copy.")
    return token


def metrics_token(token: str) -> str:
    """What reads the metrics and nothing else; it follows from the operator token and does not tell it."""
    return hmac.digest(token.encode(), b"fedrec console metrics", "sha256").hex()


def new_ticket(token: str, *, now: float) -> str:
    """A ticket that opens the console once, within five minutes."""
    body = f"{int(now * _THOUSANDTHS)}.{secrets.token_urlsafe(16)}"
    return f"{body}.{_mac(token, body)}"


@dataclass(slots=True, kw_only=True)
class Tickets:
    """The tickets that this run of the console was shown. clock: in UTC seconds, as the makers' is."""

    token: str
    clock: Callable[[], float] = time.time
    _since: float = field(init=False)
    _used: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._since = self.clock()

    def spend(self, ticket: str) -> bool:
        """Whether a ticket opens the console; it does so once."""
        body, _, mac = ticket[:_LONGEST].rpartition(".")
        if not same(mac, _mac(self.token, body)):
            return False
        made, now = int(body.partition(".")[0]) / _THOUSANDTHS, self.clock()
        # In thousandths, so that one made in the same second as the start counts.
        if not self._since - 1 / _THOUSANDTHS <= made <= now + 1 or now - made > TICKET_SECONDS:
            return False
        with self._lock:
            self._used = {used: until for used, until in self._used.items() if until >= now}
            if body in self._used:
                return False
            self._used[body] = now + TICKET_SECONDS + 1
            return True


def _mac(token: str, body: str) -> str:
    return hmac.digest(token.encode(), f"fedrec console ticket {body}".encode("utf-8", "replace"), "sha256").hex()
