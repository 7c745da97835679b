"""Fetches known data sets: https only, resumed after a break, checked against a pinned hash, unpacked safely."""

import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from fedrec.data.unpack import extract
from fedrec.errors import ConfigError, DataError, VerificationError

_SITE = "https://files.grouplens.org/datasets/movielens"
_BLOCK = 1 << 18
_SECONDS = 60

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A zip file on the web and the SHA-256 that it must have."""

    url: str
    sha256: str


KNOWN: Mapping[str, Archive] = {
    "movielens-100k": Archive(
        url=f"{_SITE}/ml-100k.zip", sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
    ),
    "movielens-1m": Archive(
        url=f"{_SITE}/ml-1m.zip", sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"
    ),
    "movielens-25m": Archive(
        url=f"{_SITE}/ml-25m.zip", sha256="8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa"
    ),
    "movielens-32m": Archive(
        url=f"{_SITE}/ml-32m.zip", sha256="e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee"
    ),
    # GroupLens may replace this one: then give the new file's hash with --sha256.
    "movielens-latest-small": Archive(
        url=f"{_SITE}/ml-latest-small.zip", sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"
    ),
}


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows; raises DataError if its address is not https."""
        if urlsplit(newurl).scheme != "https":
            raise DataError("The server redirects to an address that is not https. Nothing was fetched.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def https_opener() -> urllib.request.OpenerDirector:
    """An opener that speaks nothing but https: no http, no ftp, no files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _HttpsRedirects(),
    ):
        opener.add_handler(handler)
    return opener


def known_archive(name: str, *, sha256: str | None = None) -> Archive:
    """A data set of the table, with the caller's hash in place of the pinned one if given.

    Raises ConfigError for a name that is not in the table, or a hash that is none.
    """
    if name not in KNOWN:
        raise ConfigError(f"`{name}` is not a known data set. Choose from {', '.join(KNOWN)}.")
    wanted = (sha256 or KNOWN[name].sha256).lower()
    if not re.fullmatch("[0-9a-f]{64}", wanted):
        raise ConfigError(f"--sha256 has {len(wanted)} characters. It must be 64 hex digits.")
    return Archive(url=KNOWN[name].url, sha256=wanted)


def download(
    archive: Archive,
    *,
    out: Path,
    opener: urllib.request.OpenerDirector | None = None,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Fetch an archive and unpack it as the folder `out`, whole or not at all.

    What was fetched before a break waits in `.NAME.zip.part` beside `out` and is gone on with.
    opener: how addresses are opened; the default refuses everything but https.
    Raises VerificationError if the hash differs, DataError if it cannot be fetched or unpacked.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already. Choose another --out, or remove it first.")
    part = out.with_name(f".{out.name}.zip.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _fetch(archive.url, part, opener or https_opener(), progress)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != archive.sha256:
            part.unlink()
            raise VerificationError(
                f"{archive.url} has the SHA-256 {found}, not {archive.sha256}. It was removed. Fetch it again, "
                "or give --sha256 if you know that the publisher replaced it."
            )
        _publish(part, out)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise DataError(f"{archive.url} was not fetched ({reason}). Run the command again: it goes on there.") from None


def _fetch(url: str, part: Path, opener: urllib.request.OpenerDirector, progress: Progress) -> None:
    """Make `part` the whole file, beginning behind what it holds already."""
    held = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})  # noqa: S310
    try:
        response = opener.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and held:
            return  # The part is whole already, or of another file: its hash will tell.
        raise
    if response is None:
        raise DataError(f"{url} is not an https address. Nothing was fetched.")
    with response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not (response.headers.get("Content-Range") or "").startswith(f"bytes {held}-"):
            part.unlink()
            raise DataError(f"{url}: the server sent another part than was asked for. Run the command again.")
        done = held if goes_on else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        with part.open("ab" if goes_on else "wb") as sink:
            while block := response.read(_BLOCK):
                sink.write(block)
                done += len(block)
                progress(done, total)
    if total is not None and done != total:
        raise DataError(f"{url} broke off at byte {done} of {total}. Run the command again: it goes on there.")


def _publish(part: Path, out: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        extract(part, folder / "files")
        if out.exists():
            out.rmdir()
        (folder / "files").rename(out)
        part.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
