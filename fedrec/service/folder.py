"""Where an aggregation service keeps what: its keys, its database, and one run per catalogue."""

import re
from dataclasses import dataclass
from pathlib import Path

from fedrec.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class ServiceFolder:
    """The paths of a service; made by `fedrec server init`."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "service.toml"

    @property
    def app(self) -> Path:
        """The Flower app that is shipped to the SuperLink."""
        return self.path / "app"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def ca_key(self) -> Path:
        return self.keys / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        return self.keys / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        return self.keys / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.keys / "server.key"

    @property
    def public_certificate(self) -> Path:
        """What the proxy shows where the operator brought a certificate."""
        return self.keys / "public.crt"

    @property
    def public_key(self) -> Path:
        """The private key of that certificate."""
        return self.keys / "public.key"

    @property
    def signing_key(self) -> Path:
        """Signs releases, what devices are told to use, and the directory of identity keys."""
        return self.keys / "signing.key"

    @property
    def operator_token(self) -> Path:
        return self.keys / "operator.token"

    def noise_key(self, catalogue: str) -> Path:
        """What the noise of a catalogue's run is kept under: not beside it, so that a copy of the run opens nothing."""
        return self.keys / f"noise-{catalogue}.key"

    @property
    def superlink_database(self) -> Path:
        return self.path / "superlink.db"

    @property
    def flower_home(self) -> Path:
        return self.path / "flwr"

    @property
    def superexec_secret(self) -> Path:
        """Shared by the SuperLink and what starts its ServerApps."""
        return self.keys / "superexec.secret"

    @property
    def control_secret(self) -> Path:
        """Shown to the SuperLink by whoever starts and stops its runs."""
        return self.keys / "control.secret"

    @property
    def deploy(self) -> Path:
        """What other programs are started with: the proxy's config, units, a compose file."""
        return self.path / "deploy"

    @property
    def proxy(self) -> Path:
        """Where the proxy keeps what it keeps while it runs."""
        return self.path / "proxy"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        return self.path / "service.lock"

    @property
    def state(self) -> Path:
        """What the processes of the service do, as the one that watches them last saw it."""
        return self.path / "state.json"

    @property
    def runs(self) -> Path:
        """Which of Flower's runs is whose, as whoever keeps them last saw it."""
        return self.path / "runs.json"

    @property
    def catalogues(self) -> Path:
        return self.path / "catalogues"

    def names(self) -> list[str]:
        """The catalogues that are served, in order."""
        found = self.catalogues.iterdir() if self.catalogues.is_dir() else ()
        return sorted(folder.name for folder in found if (folder / "scenario.toml").is_file())

    def catalogue(self, name: str) -> "CatalogueFolder":
        """One catalogue's part; raises ConfigError for a name that is none."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"`{name[:64]}` is no name of a catalogue: use a-z, 0-9, - and _, at most 63.")
        return CatalogueFolder(self.catalogues / name)


@dataclass(frozen=True, slots=True)
class CatalogueFolder:
    """One catalogue: its items, its scenario, and its run with a ledger of its own."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def scenario(self) -> Path:
        return self.path / "scenario.toml"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def old_noise_key(self) -> Path:
        """Where an older version kept the key of the run's noise."""
        return self.run / "noise.key"

    @property
    def turn(self) -> Path:
        """A lock that whoever runs the catalogue's rounds holds: there is one ledger, and one writer of it."""
        return self.path / "run.lock"
