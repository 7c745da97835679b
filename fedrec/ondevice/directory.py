"""Fetching who the other devices of a catalogue are: the directory of identity keys, pinned in the store."""

from pathlib import Path

from fedrec.data.store.store import Store
from fedrec.errors import UnknownClientError
from fedrec.identities import LARGEST_DIRECTORY, Directory
from fedrec.ondevice.enrolment import pin_directory, pinned_directory
from fedrec.ondevice.release_server import NotThereError, ReleaseServer
from fedrec.ondevice.seen import read_seen


def fetch_directory(store: Store, url: str, *, catalogue: str, ca: Path | None = None) -> Directory | None:
    """The directory that the server has now is the pinned one; None where it has none yet.

    Raises VerificationError or RefusedError for one that the signer did not make, that is older
    than the pinned one or of another catalogue: then nothing changes.
    """
    try:
        answer = _asked(url, catalogue=catalogue, ca=ca, etag=None)
    except NotThereError:
        return None
    document = answer[0] if answer else b""
    return pin_directory(store, document, catalogue=catalogue)


class LaterDirectory:
    """Where a device looks for a later directory than its own; one that is as it was costs a few bytes."""

    def __init__(self, store: Store, url: str, *, ca: Path | None = None) -> None:
        self._store, self._url, self._ca = store, url, ca
        self._etag: str | None = None

    def pinned(self) -> Directory | None:
        """The later directory, which is the pinned one on return; None where there is none.

        Raises DataError where the server does not answer or has none, and as `fetch_directory`.
        """
        before = pinned_directory(self._store)
        catalogue = before.catalogue if before else self._only_catalogue()
        answer = _asked(self._url, catalogue=catalogue, ca=self._ca, etag=self._etag)
        if answer is None:
            return None
        now = pin_directory(self._store, answer[0], catalogue=catalogue)
        self._etag = answer[1]
        return now if before is None or now.serial > before.serial else None

    def _only_catalogue(self) -> str:
        seen = list(read_seen(self._store.folder))
        if len(seen) != 1:
            raise UnknownClientError(
                "This device does not know of which catalogue it is. Name it: `fedrec client update --catalogue`."
            )
        return seen[0]


def _asked(url: str, *, catalogue: str, ca: Path | None, etag: str | None) -> tuple[bytes, str | None] | None:
    with ReleaseServer(url, ca=ca) as server:
        return server.content(f"/v1/releases/{catalogue}/directory", most=LARGEST_DIRECTORY, etag=etag)
