import time
from pathlib import Path

import pytest

from fedrec.errors import RefusedError
from fedrec.service.folder import CatalogueFolder
from fedrec.service.turns import is_served, turn
from tests.killing import attempt


def test_a_catalogue_is_served_by_one_process_at_a_time(tmp_path: Path) -> None:
    catalogue = CatalogueFolder(tmp_path)
    assert not is_served(catalogue)
    with turn(catalogue):
        assert is_served(catalogue)
        with pytest.raises(RefusedError, match="in use by another process"), turn(catalogue, wait=0.0):
            pass
    assert not is_served(catalogue)


def test_a_look_takes_the_turn_from_nobody(tmp_path: Path) -> None:
    catalogue = CatalogueFolder(tmp_path)
    assert not is_served(catalogue)
    with turn(catalogue, wait=0.0):
        pass


def test_the_turn_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    catalogue = CatalogueFolder(tmp_path)

    def hold() -> None:
        with turn(catalogue):
            time.sleep(60)

    attempt(hold, kill_after=0.2)
    assert not is_served(catalogue)
