"""A page's own files, read once: they hold nothing about anybody, so anybody may ask for them."""

from collections.abc import Awaitable, Callable
from importlib import resources
from types import MappingProxyType

from fastapi import FastAPI, Request, Response

_TYPES = MappingProxyType({".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"})
# Its page holds no index.html: what the pages have in common.
_SHARED = "fedrec.web"


def page_files(package: str, *, at: str, files: str) -> dict[str, Response]:
    """The files of PACKAGE/page, and those that all pages share, by the path under which they are served.

    at: where index.html is served. files: the folder of all others.

    >>> sorted(page_files("fedrec.agent", at="/", files="/page"))[:2]
    ['/', '/page/api.js']
    """
    found = {}
    folders = (resources.files(owner).joinpath("page") for owner in (_SHARED, package))
    for file in (file for folder in folders for file in folder.iterdir()):
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            path = at if file.name == "index.html" else f"{files}/{file.name}"
            found[path] = Response(file.read_bytes(), media_type=_TYPES[suffix])
    return found


def serve_page(app: FastAPI, files: dict[str, Response]) -> None:
    """Have an application answer with a page's files."""
    for path, file in files.items():
        app.add_route(path, _serving(file), include_in_schema=False)


def _serving(file: Response) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers with one file."""

    async def serve(_: Request) -> Response:
        return file

    return serve
