"""A registry on each database that it may lie in, and releases to put there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.registry.registry import Registry
from tests.installed import absent
from tests.ondevice.device_worlds import a_world
from tests.registry.postgres import Postgres, private_postgres, programs
from tests.registry.presses import Press


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that really runs."""
    found = programs()
    if not found:
        absent("PostgreSQL")
    with private_postgres(found) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty registry may lie."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def registry(url: str, tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(url, artifacts=f"file://{tmp_path / 'artifacts'}") as opened:
        yield opened


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return Press(folder=tmp_path / "made", world=a_world())
