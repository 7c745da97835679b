"""What devices fetch: the signed pointer, manifests, files and the directory. Public, read-only, nothing of a device.

Every path is refused by its form before the database is asked, and what never changes may be
kept by any cache on the way: devices trust signatures and hashes, not the way.
"""

import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from fedrec.errors import DataError
from fedrec.registry.ranges import Span, wanted_span
from fedrec.registry.registry import Registry
from fedrec.web.answers import refusal

# Asked for anew each time; an ETag that still holds makes the answer an empty one.
_CHANGES = "public, no-cache"
_NEVER_CHANGES = "public, max-age=31536000, immutable"
_FORM = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST_HEADER = 1 << 10

Name = Annotated[str, Path(description="The name of a catalogue.")]
Hash = Annotated[str, Path(description="A sha256 in hexadecimal.")]


def downloads(registry: Registry) -> APIRouter:
    """The addresses under `/v1/releases`, to be published by the proxy."""
    router = APIRouter(prefix="/v1/releases", default_response_class=Response)

    @router.get("/{catalogue}/current")
    def current(request: Request, catalogue: Name) -> Response:
        """Which release devices are told to use: a pointer and its signature."""
        document = registry.current_document(catalogue) if _FORM.fullmatch(catalogue) else None
        return _answer(request, document, _etag(document or b""), "application/json", _CHANGES)

    @router.get("/{catalogue}/directory")
    def directory(request: Request, catalogue: Name) -> Response:
        """The signed directory of a catalogue's identity keys."""
        name = f"directory/{catalogue}"
        digest = registry.document_hash(name) if _FORM.fullmatch(catalogue) else None
        if digest and _holds(request, f'"{digest}"'):
            return _unchanged(f'"{digest}"', _CHANGES)
        document = registry.document(name) if digest else None
        return _answer(request, document, _etag(document or b""), "application/octet-stream", _CHANGES)

    @router.get("/blobs/{sha256}")
    def blob(request: Request, sha256: Hash) -> Response:
        """A file of a published release, or a part of it."""
        size = registry.blob_size(sha256) if _HASH.fullmatch(sha256) else None
        return _nothing_here() if size is None else _file(registry, request, sha256, size)

    @router.get("/{catalogue}/{manifest_hash}/manifest.json")
    def manifest(request: Request, catalogue: Name, manifest_hash: Hash) -> Response:
        """What a release is made of."""
        content = _signed_part(registry, catalogue, manifest_hash, 0)
        return _answer(request, content, _etag(content or b""), "application/json", _NEVER_CHANGES)

    @router.get("/{catalogue}/{manifest_hash}/manifest.sig")
    def signature(request: Request, catalogue: Name, manifest_hash: Hash) -> Response:
        """Who vouches for it."""
        content = _signed_part(registry, catalogue, manifest_hash, 1)
        return _answer(request, content, _etag(content or b""), "text/plain", _NEVER_CHANGES)

    return router


async def not_now(_: Request, error: DataError) -> Response:
    """The answer while the database or the files cannot be reached: later. An operator's log says why, devices do not.

    For the application's `exception_handlers`, under `DataError`.
    """
    del error
    return refusal(503, "The registry does not answer now. Ask again in a minute.", headers={"Retry-After": "60"})


def _signed_part(registry: Registry, catalogue: str, manifest_hash: str, part: int) -> bytes | None:
    if not (_FORM.fullmatch(catalogue) and _HASH.fullmatch(manifest_hash)):
        return None
    found = registry.manifest(catalogue, manifest_hash)
    return found[part] if found else None


def _answer(request: Request, content: bytes | None, etag: str, kind: str, caching: str) -> Response:
    """Some content, whole, unless the device has it."""
    if content is None:
        return _nothing_here()
    if _holds(request, etag):
        return _unchanged(etag, caching)
    return Response(content, media_type=kind, headers=_headers(etag, caching))


def _file(registry: Registry, request: Request, sha256: str, size: int) -> Response:
    """A file, or the part of it that is asked for."""
    if registry.artifacts.size(sha256) != size:
        raise DataError(f"The file {sha256[:12]} of a published release is not in the artifacts. Publish it again.")
    etag = f'"{sha256}"'
    if _holds(request, etag):
        return _unchanged(etag, _NEVER_CHANGES)
    headers = _headers(etag, _NEVER_CHANGES) | {"Accept-Ranges": "bytes"}
    asked = request.headers.get("range", "")
    # A part of another file than the one that the device began with would fit nothing.
    span = wanted_span(asked, size) if request.headers.get("if-range", etag) == etag else Span(0, size)
    if span is None:
        return refusal(416, "The file ends before this part.", headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Length"] = str(span.end - span.start)
    whole = span == Span(0, size)
    if not whole:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    blocks = registry.artifacts.read(sha256, start=span.start, end=span.end)
    return StreamingResponse(
        blocks, status_code=200 if whole else 206, media_type="application/octet-stream", headers=headers
    )


def _holds(request: Request, etag: str) -> bool:
    """Whether the device says that it has this already."""
    given = request.headers.get("if-none-match", "")[:_LONGEST_HEADER]
    return given == "*" or etag in [each.strip().removeprefix("W/") for each in given.split(",")]


def _unchanged(etag: str, caching: str) -> Response:
    return Response(status_code=304, headers=_headers(etag, caching))


def _headers(etag: str, caching: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": caching, "X-Content-Type-Options": "nosniff"}


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


def _nothing_here() -> Response:
    return refusal(404, "There is nothing at this address.")
