"""Whether what only a service's owner may read is there, and nobody else can read it."""

import stat
from pathlib import Path

from fedrec.errors import VerificationError
from fedrec.files import sync_folder, write_atomically
from fedrec.service.folder import ServiceFolder

_OPEN = (".crt", ".pub")


def secrets_of(folder: ServiceFolder) -> list[Path]:
    """The files of keys and databases that are there."""
    keys = [path for path in sorted(folder.keys.glob("*")) if path.suffix not in _OPEN]
    return [*keys, *sorted(folder.path.glob("*.db*"))]


def loose_secrets(folder: ServiceFolder) -> list[Path]:
    """Those that others can read or write."""
    return [path for path in secrets_of(folder) if stat.S_IMODE(path.stat().st_mode) & 0o077]


def missing_secrets(folder: ServiceFolder) -> list[Path]:
    """Those without which a service does not run as it should."""
    own = (folder.signing_key, folder.server_key)
    shared = (folder.operator_token, folder.superexec_secret, folder.control_secret)
    return [path for path in (*own, *shared) if not path.is_file()]


def settled_noise_key(folder: ServiceFolder, catalogue: str) -> Path:
    """Where the key of a run's noise lies: with the other keys; one that still lay in the run's folder was moved there.

    The same key may be in both places: a move was cut off, or an older copy of the run's folder was restored.
    Raises VerificationError where there are two that differ: one of them is of another run.
    """
    key, old = folder.noise_key(catalogue), folder.catalogue(catalogue).old_noise_key
    if old.exists():
        held = old.read_bytes()
        if not key.exists():
            # Copied, as either may be a link or on another disk: what was there is taken away last.
            write_atomically(key, held, mode=0o600)
        elif key.read_bytes() != held:
            raise VerificationError(f"{key} and {old} are both there. Put away the one that is not of this run.")
        old.unlink()
        sync_folder(old.parent)
    return key


def require_custody(folder: ServiceFolder) -> None:
    """Raise VerificationError unless every secret is there and the owner's alone."""
    for path in missing_secrets(folder):
        raise VerificationError(f"{path} is gone. See docs/runbook.md, `A lost key`.")
    for path in loose_secrets(folder):
        raise VerificationError(f"Others can read {path}. Do `chmod 600 {path}`, and think of it as known to them.")
