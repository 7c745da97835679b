"""A registry on each database that it may lie in, and releases to put there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.registry.publishing import ReleaseRow
from fedrec.registry.registry import Registry
from fedrec.release import signing_key, verify_release
from tests.ondevice.device_worlds import World, a_release, a_world
from tests.registry.postgres import Postgres, private_postgres, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that really runs."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    with private_postgres(found) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
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


@dataclass(frozen=True, kw_only=True)
class Press:
    """Makes releases and publishes them."""

    folder: Path
    world: World

    @property
    def key(self) -> Ed25519PrivateKey:
        return signing_key(self.folder / "signing.key")

    def release(self, round_number: int, *, world: World | None = None) -> Path:
        return a_release(self.folder, world or self.world, round_number=round_number)

    def publish(self, registry: Registry, round_number: int, *, catalogue: str = "films") -> ReleaseRow:
        folder = self.release(round_number)
        return registry.publish(catalogue, folder, manifest=verify_release(folder, self.key.public_key()))


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return Press(folder=tmp_path / "made", world=a_world())
