"""Releases to put into a registry."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.registry.publishing import ReleaseRow
from fedrec.registry.registry import Registry
from fedrec.release import signing_key, verify_release
from tests.ondevice.device_worlds import World, a_release


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
