"""A release that lies on this device."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.release import Manifest

_LAST_ROUND = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A release on this device. id: what it recommends with, as a hash; round: of its run."""

    folder: Path
    manifest: Manifest
    id: str
    round: int

    @property
    def run(self) -> str:
        """The run that made it; rounds of different runs cannot be compared."""
        return str(self.manifest.lineage["run"])


def folder_name(manifest: Manifest) -> str:
    """The name under which a release is kept; made of checked parts, never of what its source is called.

    The id says what a release recommends with; the hash of the manifest tells releases of one
    id apart, which differ in their run, their privacy plan or their card.
    """
    number, run = manifest.lineage.get("round"), manifest.lineage.get("run")
    if type(number) is not int or not 0 <= number < _LAST_ROUND or not isinstance(run, str):
        raise VerificationError("The manifest lacks a sound run or round. Do not use this release.")
    return f"{number:05d}-{manifest.id}-{hashlib.sha256(manifest.content()).hexdigest()[:16]}"
