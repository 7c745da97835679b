"""Making a service: a folder with its keys, its settings and its catalogues, whole or not at all."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedrec.errors import ConfigError, DataError
from fedrec.files import sync_folder, write_atomically
from fedrec.release import signing_key
from fedrec.service.certificates import make_certificates, renew_certificate, take_certificate
from fedrec.service.config import NetworkConfig, load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.rendering import is_plain, render, render_settings

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Brought:
    """A certificate that the operator brings for the proxy, with its chain, and its private key."""

    certificate: Path
    key: Path


def make_service(path: Path, *, network: NetworkConfig, now: datetime, brought: Brought | None = None) -> ServiceFolder:
    """A service lies at `path`: keys, settings, the Flower app and what deploys it; nobody else may read it.

    Raises ConfigError or DataError, and leaves nothing behind, if it cannot be made.
    """
    at = path.resolve()
    if not is_plain(at):
        raise ConfigError(f"{at} has a character that configs of other programs would misread. Choose a plain path.")
    with _whole(at) as draft:
        folder = ServiceFolder(draft)
        make_certificates(folder, names=network.names, now=now)
        if brought is not None:
            take_certificate(folder, certificate=brought.certificate, key=brought.key, now=now)
        _make_secrets(folder)
        for made in (folder.app, folder.deploy, folder.flower_home, folder.catalogues, folder.logs, folder.proxy):
            made.mkdir(mode=0o700)
        # SQLite takes an empty file for a new database and keeps its mode; Flower would make it readable by all.
        write_atomically(folder.superlink_database, b"", mode=0o600)
        render_settings(folder, network)
        render(folder, network, at=at)
    return ServiceFolder(path)


def renew(folder: ServiceFolder, *, now: datetime, brought: Brought | None = None) -> None:
    """The service has a fresh certificate: its own authority's, or the one that is brought."""
    network = load_service(folder).network
    if brought is None:
        renew_certificate(folder, names=network.names, now=now)
    else:
        take_certificate(folder, certificate=brought.certificate, key=brought.key, now=now)
    # A certificate that is brought for the first time is another file for the proxy.
    render(folder, network, at=folder.path.resolve())


def replace_authority(folder: ServiceFolder, *, now: datetime) -> None:
    """Another authority vouches for the names in the settings, once the old one was put away; devices need it.

    Raises DataError while the old one is here.
    """
    make_certificates(folder, names=load_service(folder).network.names, now=now)


def _make_secrets(folder: ServiceFolder) -> None:
    signing_key(folder.signing_key)
    for path in (folder.operator_token, folder.control_secret):
        write_atomically(path, f"{secrets.token_urlsafe(_SECRET_BYTES)}\n".encode(), mode=0o600)
    write_atomically(folder.superexec_secret, secrets.token_bytes(_SECRET_BYTES), mode=0o600)
    password = secrets.token_urlsafe(_SECRET_BYTES)
    # For PostgreSQL in the compose file: one for the database, one as its clients read it.
    write_atomically(folder.keys / "database.password", password.encode(), mode=0o600)
    write_atomically(folder.keys / "database.pgpass", f"*:*:fedrec:fedrec:{password}\n".encode(), mode=0o600)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft folder, for its owner alone, that takes its name when the block has succeeded."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} exists already. Choose another folder, or remove it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield draft
        # Onto an empty folder too; another service that was made meanwhile is not replaced.
        draft.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
