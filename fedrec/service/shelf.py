"""Where the rounds put their releases: in the registry, and into use where that is not the operator's to say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.registry.registry import Registry
from fedrec.release import MANIFEST, Manifest, hash_file, verify_release
from fedrec.service.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """One catalogue's releases. key: signs them and what devices are told to use."""

    registry: Registry
    catalogue: str
    key: Ed25519PrivateKey
    promotion: Literal["operator", "newest"]
    clock: Clock

    def put(self, release: Path) -> None:
        """The release is in the registry; the first one of all, or each newer one, is what devices use.

        Done again after a kill, it comes to the same.
        """
        manifest = verify_release(release, self.key.public_key())
        row = self.registry.publish(self.catalogue, release, manifest=manifest)
        if self._is_next(manifest):
            self.registry.promote(self.catalogue, row.manifest_hash, key=self.key, now=int(self.clock.utc()))

    def catch_up(self, releases: Path, *, finished: int) -> None:
        """What finished rounds have released is in the registry, also where it was restored from an older copy."""
        known = {row.manifest_hash for row in self.registry.releases(self.catalogue)}
        for release in sorted(releases.glob("[0-9]*-*")):
            counts = int(release.name.split("-")[0]) <= finished
            if counts and hash_file(release / MANIFEST) not in known:
                self.put(release)

    def _is_next(self, manifest: Manifest) -> bool:
        """Whether this release comes into use by itself; an older one that is put again does not."""
        current = self.registry.current(self.catalogue)
        if current is None:
            return True
        newer = current.run != manifest.lineage["run"] or current.round < manifest.lineage["round"]
        return self.promotion == "newest" and newer
