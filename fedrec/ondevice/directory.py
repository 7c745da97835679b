"""Fetching who the other devices of a catalogue are: the directory of identity keys, pinned in the store."""

from pathlib import Path

from fedrec.data.store.store import Store
from fedrec.identities import LARGEST_DIRECTORY, Directory
from fedrec.ondevice.enrolment import pin_directory
from fedrec.ondevice.release_server import NotThereError, ReleaseServer


def fetch_directory(store: Store, url: str, *, catalogue: str, ca: Path | None = None) -> Directory | None:
    """The directory that the server has now is the pinned one; None where it has none yet.

    Raises VerificationError or RefusedError for one that the signer did not make, that is older
    than the pinned one or of another catalogue: then nothing changes.
    """
    try:
        with ReleaseServer(url, ca=ca) as server:
            answer = server.content(f"/v1/releases/{catalogue}/directory", most=LARGEST_DIRECTORY)
    except NotThereError:
        return None
    document = answer[0] if answer else b""
    return pin_directory(store, document, catalogue=catalogue)
