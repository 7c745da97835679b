from pathlib import Path

import pytest

from tests.service.devices import Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A data set and an encoder; what is encoded lies beside them."""
    return Place.make(tmp_path_factory.mktemp("place"))


@pytest.fixture
def cached(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Texts are encoded once for all tests."""
    cache = place.world.parent / "cache"
    monkeypatch.setenv("FEDREC_CACHE", str(cache))
    return cache
