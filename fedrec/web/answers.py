"""What every answer of a service carries, and how it says no: one clear line of JSON."""

import json
from typing import Any

from starlette.responses import JSONResponse

# Nothing from elsewhere, nothing inline, in no frame, kept in no cache, and no address sent on.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Answer(JSONResponse):
    """JSON in plain ASCII: what a caller sent, half a character included, never breaks an answer."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def refusal(status: int, message: str, *, headers: dict[str, str] | None = None) -> Answer:
    """An error as one line; never a traceback, and no more than the caller said itself."""
    return Answer({"error": message}, status_code=status, headers=headers)
