"""The secret without which a service's SuperLink does nothing for who is on its machine: asked for, and shown.

Flower's control API asks nobody who he is: whoever reaches the port on loopback starts and stops runs, and registers
nodes. Flower's own accounts need a server of identities. Here both sides read one file, which the environment names,
so that the secret stands in no command line.
"""

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fedrec.errors import VerificationError

SECRET_FILE = "FEDREC_CONTROL_SECRET_FILE"  # noqa: S105, the name of it
HEADER = "x-fedrec-control"
# The rest asks for the key of a node or the token of a task itself; health is asked by whoever watches.
_OPEN = ("/v1/fleet/", "/v1/runtime/")
_HEALTH = "/health"


def secret_in(path: Path) -> str:
    """The secret in a file; raises VerificationError where there is none."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        secret = ""
    if not secret:
        raise VerificationError(f"{path} holds no secret for the SuperLink. See docs/runbook.md, `A lost key`.")
    return secret


def secret_from(environment: Mapping[str, str]) -> str:
    """The secret in the file that the environment names; raises VerificationError where there is none."""
    if SECRET_FILE not in environment:
        raise VerificationError(f"{SECRET_FILE} is not set: it names `keys/control.secret` of a service.")
    return secret_in(Path(environment[SECRET_FILE]))


class OnlyWithSecret:
    """An application that answers what controls it to who shows the secret, and to nobody else: before it reads on."""

    def __init__(self, app: ASGIApp, *, secret: str) -> None:
        self.app = app
        self.secret = secret.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with its body unread."""
        if scope["type"] != "lifespan" and not self._may(scope):
            refusal = JSONResponse({"detail": "The secret of this service is missing, or is another."}, 403)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        path = scope["path"]
        if path == _HEALTH or path.startswith(_OPEN):
            return True
        shown = [value for name, value in scope["headers"] if name == HEADER.encode()]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self.secret)


class ShowingSecret:
    """An interceptor of Flower's client: every request shows the secret."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """The answer to the request with the secret on it."""
        context.request.headers[HEADER] = self.secret
        return call_next(context)


def client_showing(secret: str) -> type[ControlHttpClient]:
    """Flower's client of the control API, whose every request shows the secret."""

    class Client(ControlHttpClient):
        def __init__(self, base_url: str, **settings: Any) -> None:
            shown = (*settings.pop("interceptors", ()), ShowingSecret(secret))
            super().__init__(base_url, interceptors=shown, **settings)

    return Client
