"""How a service answers what it refuses: one line, under the status of its kind."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from fedrec.errors import DataError, FedrecError, RefusedError
from fedrec.web.answers import refusal


class NotHereError(DataError):
    """What was asked for does not exist; a service answers 404."""


class NoEntryError(RefusedError):
    """What was shown at the door opens nothing; a service answers 401."""


class FullError(RefusedError):
    """There are as many of this as there may be; a service answers 503."""


_KINDS: Mapping[type[FedrecError], int] = {NotHereError: 404, NoEntryError: 401, FullError: 503, RefusedError: 409}
_WORDS: Mapping[int, str] = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}


async def refused(_: Request, error: FedrecError) -> Response:
    """fedrec's own refusals: its line, under the status of its kind."""
    status = next((status for kind, status in _KINDS.items() if isinstance(error, kind)), 422)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "30"}}
    return refusal(status, str(error), headers=headers.get(status))


async def _not_understood(_: Request, error: RequestValidationError) -> Response:
    """The first thing that is wrong with a request: where, and what. Never what was sent."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    status = 400 if first["type"] == "json_invalid" else 422
    return refusal(status, f"{place}: {first['msg']}." if place else f"{first['msg']}.")


async def _not_served(_: Request, error: HTTPException) -> Response:
    """What the routing refuses: an address or a method that is not there, a body that is no text."""
    message = _WORDS.get(error.status_code, "The body cannot be read. Send JSON in UTF-8.")
    return refusal(error.status_code, message, headers=dict(error.headers or {}))


# For FastAPI(exception_handlers=...).
HANDLERS: dict[Any, Any] = {
    FedrecError: refused,
    RequestValidationError: _not_understood,
    HTTPException: _not_served,
}
