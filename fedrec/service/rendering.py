"""What other programs read about a service: the Flower app, the proxy's config, units, a compose file."""

import getpass
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import fedrec
from fedrec.files import write_atomically
from fedrec.service.certificates import shown_to_devices
from fedrec.service.config import NetworkConfig
from fedrec.service.folder import ServiceFolder

_TEMPLATES = Path(__file__).parent / "templates"
_APP = {
    "app.toml": "pyproject.toml",
    "server_app.py.template": "server_app.py",
    "client_app.py.template": "client_app.py",
}
_DEPLOY = ("nginx.conf", "compose.yaml", "Dockerfile", "fedrec-server.service", "fedrec-proxy.service")
_PLACE = re.compile(r"@\{([a-z_]+)\}")
# A path with one of these would be something else in a config of the proxy, of systemd or of a shell.
_UNSAFE = frozenset("\"'\\$;{}#%@ \t\n\r")


def render(folder: ServiceFolder, network: NetworkConfig, *, at: Path) -> None:
    """The app, FLWR_HOME's config and what deploys the service are as the settings say.

    at: where the service will lie when it runs, which is what the files name.
    """
    values = _values(folder, network, at)
    for template, name in _APP.items():
        _write(folder.app / name, template, values)
    _write(folder.flower_home / "config.toml", "flower.toml", values)
    for name in _DEPLOY:
        _write(folder.deploy / name, name, values)


def render_settings(folder: ServiceFolder, network: NetworkConfig) -> None:
    """`service.toml` says every setting, with what it means."""
    values = {
        "names": json.dumps(list(network.names)),
        "public_port": str(network.public_port),
        "fleet_port": str(network.fleet_port),
        "front_port": str(network.front_port),
    }
    _write(folder.config, "service.toml", values)


def is_plain(path: Path) -> bool:
    """Whether a path means itself in every file that names it.

    >>> [is_plain(Path(path)) for path in ("/srv/fedrec", "/srv/my service", "/srv/$HOME")]
    [True, False, False]
    """
    return not _UNSAFE & set(str(path))


def program(name: str) -> Path:
    """A program of this installation: it lies beside the interpreter."""
    return Path(sys.executable).with_name(name)


def proxy_program() -> str:
    """Where nginx is, or would be."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


def _values(folder: ServiceFolder, network: NetworkConfig, at: Path) -> Mapping[str, str]:
    certificate, key = (at / path.relative_to(folder.path) for path in shown_to_devices(folder))
    return {
        "path": str(at),
        "version": fedrec.__version__,
        "name": network.names[0],
        "public_port": str(network.public_port),
        "fleet_port": str(network.fleet_port),
        "front_port": str(network.front_port),
        "certificate": str(certificate),
        "key": str(key),
        "user": getpass.getuser(),
        "uid": str(os.getuid()),
        # A proxy that root starts would go on as a user who cannot read the folder.
        "proxy_user": "user root;\n" if os.getuid() == 0 else "",
        "fedrec": str(program("fedrec")),
        "nginx": proxy_program(),
    }


def _write(path: Path, template: str, values: Mapping[str, str]) -> None:
    """Fill the @{names} of a template: nginx, systemd and compose each use the dollar for themselves."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    write_atomically(path, _PLACE.sub(lambda place: values[place[1]], text).encode())
