"""Where a device's release comes from: a folder, or a server over HTTPS."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.ondevice.installed import Installed

Folder = Annotated[Path | None, typer.Option("--release", help="The folder of a signed release.", show_default=False)]
Server = Annotated[
    str | None,
    typer.Option("--from", help="The server to fetch it from, such as https://HOST.", show_default=False),
]
Authority = Annotated[
    Path | None,
    typer.Option(help="The certificate of the server's own authority; the system's count if not given."),
]
Catalogue = Annotated[
    str | None, typer.Option(help="The server's name of the catalogue; as the last time if not given.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder, or a server with its catalogue; raises ConfigError where it is both or neither."""

    release: Path | None
    server: str | None
    ca: Path | None
    catalogue: str | None

    def __post_init__(self) -> None:
        if (self.release is None) == (self.server is None):
            raise ConfigError("Name where the release is: --release FOLDER, or --from https://HOST.")
        if self.server is None and (self.ca or self.catalogue):
            raise ConfigError("--ca and --catalogue go with --from. A folder needs neither.")

    def install(self, device: Path, *, by_person: bool) -> "Installed | None":
        """The release, active on the device; None if the server has nothing newer."""
        from fedrec.ondevice.fetching import fetch
        from fedrec.ondevice.releases import install

        if self.release is not None:
            return install(device, self.release, by_person=by_person)
        return fetch(
            device,
            self.server or "",
            catalogue=self.catalogue or _last_catalogue(device),
            ca=self.ca,
            by_person=by_person,
            progress=_show if sys.stderr.isatty() else _keep_quiet,
        )

    def pin_directory(self, device: Path) -> None:
        """The device knows who the others of its catalogue are, where the server says so."""
        from fedrec.data.store.store import Store
        from fedrec.ondevice.directory import fetch_directory

        if self.server is not None:
            with Store.open(device) as store:
                fetch_directory(store, self.server, catalogue=self.catalogue or _last_catalogue(device), ca=self.ca)


def _last_catalogue(device: Path) -> str:
    from fedrec.ondevice.seen import read_seen

    seen = list(read_seen(device))
    if len(seen) != 1:
        raise ConfigError("Name the server's catalogue with --catalogue: its operator knows.")
    return seen[0]


def _show(done: int, total: int) -> None:
    print(f"\rfetched {done / 1e6:.1f} of {total / 1e6:.1f} MB", end="\n" if done == total else "", file=sys.stderr)  # noqa: T201


def _keep_quiet(_done: int, _total: int) -> None:
    """Nobody looks."""
