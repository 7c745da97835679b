"""What the document of every service of ours says: the refusals that its guard and its reader of requests make."""

from typing import Annotated, Any

from fastapi import Query

from fedrec.web.wire import Failure

Refusals = dict[int | str, dict[str, Any]]


def refusal_of(description: str) -> dict[str, Any]:
    """What a document says of a status that stands for a refusal."""
    return {"model": Failure, "description": description}


# Said once for every route of a service, which adds its own.
REFUSALS: Refusals = {
    400: refusal_of("The body is no JSON."),
    401: refusal_of("No token or session, or not this service's."),
    403: refusal_of("From another host or page, or without the session's secret."),
    413: refusal_of("Larger than one request may be."),
    422: refusal_of("A field is missing, unknown, or of no sense."),
    429: refusal_of("Too many requests; `Retry-After` says when to ask again."),
}
MISSING: Refusals = {404: refusal_of("There is no such thing here.")}

# What a caller has a service prove that it holds the token: see `proofs.py`.
Nonce = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{16,128}$")]
