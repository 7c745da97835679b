"""Whose turn a catalogue is: its rounds are run by one process at a time, whatever was killed or started twice."""

from contextlib import AbstractContextManager

from fedrec.data.store.locks import Lock, held
from fedrec.service.folder import CatalogueFolder

# Flower's word that a run is stopped reaches its process within half a minute.
_WAIT_SECONDS = 60.0


def turn(catalogue: CatalogueFolder, *, wait: float = _WAIT_SECONDS) -> AbstractContextManager[None]:
    """This process alone runs the catalogue's rounds while the block runs.

    Raises RefusedError if another one still does after `wait` seconds.
    """
    return held(catalogue.turn, wait=wait)


def is_served(catalogue: CatalogueFolder) -> bool:
    """Whether some process runs the catalogue's rounds now."""
    lock = Lock(catalogue.turn)
    try:
        return not lock.take(shared=True)
    finally:
        lock.close()
