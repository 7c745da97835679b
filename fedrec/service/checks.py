"""What an operator should know before devices do: permissions, certificates, room, ports, versions."""

import importlib.metadata
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fedrec.config_file import load_scenario
from fedrec.errors import FedrecError
from fedrec.registry.registry import Registry
from fedrec.release import public_key, signing_key
from fedrec.service.certificates import RENEW_DAYS, belong_together, days_left, shown_to_devices
from fedrec.service.config import ServiceConfig, artifacts_url, database_url, load_service
from fedrec.service.custody import loose_secrets, missing_secrets, secrets_of
from fedrec.service.folder import ServiceFolder
from fedrec.service.ports import is_taken
from fedrec.service.programs import front_answers, superlink_answers
from fedrec.service.running import is_running
from fedrec.service.served import require_served

Verdict = Literal["good", "look", "bad"]

_FLOWER = "1.41.0"
_ROOM_BAD, _ROOM_LOOK = 200 << 20, 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. bad: the service will not do what it should; look: it may not soon."""

    verdict: Verdict
    about: str
    says: str


def check(folder: ServiceFolder, *, now: datetime) -> list[Finding]:
    """Everything that can be seen from outside about a service, whether it runs or not.

    Raises ConfigError if there is no service, or its settings cannot be read.
    """
    config = load_service(folder)
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _permissions(folder),
        lambda: _keys(folder),
        lambda: _certificates(folder, now),
        lambda: _room(folder),
        lambda: _ports(folder, config),
        lambda: _versions(),
        lambda: _registry(folder, config),
        lambda: _catalogues(folder),
    )
    return [finding for part in parts for finding in part()]


def _permissions(folder: ServiceFolder) -> Iterator[Finding]:
    loose = loose_secrets(folder)
    for path in loose:
        yield Finding("bad", "permissions", f"others can read {path}. Do `chmod 600 {path}`, and think of it as known.")
    if stat.S_IMODE(folder.path.stat().st_mode) & 0o077:
        yield Finding("look", "permissions", f"others can enter {folder.path}. Do `chmod 700 {folder.path}`.")
    elif not loose:
        found = len(secrets_of(folder))
        yield Finding("good", "permissions", f"{found} files of keys and databases are the owner's alone.")
    if os.getuid() == 0:
        yield Finding("look", "user", "this is root. Give the service a user of its own.")


def _keys(folder: ServiceFolder) -> Iterator[Finding]:
    for path in missing_secrets(folder):
        yield Finding("bad", "keys", f"{path} is gone. See docs/runbook.md, `A lost key`.")
    try:
        if folder.signing_key.is_file():
            pinned = public_key(folder.signing_key.with_suffix(".pub"))
            if pinned != signing_key(folder.signing_key).public_key():
                yield Finding("bad", "keys", "signing.pub is not of signing.key: devices trust another signer.")
    except FedrecError as error:
        yield Finding("bad", "keys", str(error))
    if folder.ca_key.is_file():
        yield Finding("look", "keys", f"{folder.ca_key} is only needed to renew: it is safer on another machine.")


def _certificates(folder: ServiceFolder, now: datetime) -> Iterator[Finding]:
    own = (folder.server_certificate, folder.server_key)
    for certificate, key in dict.fromkeys((own, shown_to_devices(folder))):
        try:
            if not belong_together(certificate, key):
                yield Finding("bad", "certificates", f"{certificate} is not of {key}. Do `fedrec server renew`.")
        except FedrecError as error:
            yield Finding("bad", "certificates", str(error))
    for path in dict.fromkeys((folder.ca_certificate, own[0], shown_to_devices(folder)[0])):
        try:
            days = days_left(path, now=now)
        except FedrecError as error:
            yield Finding("bad", "certificates", str(error))
            continue
        verdict: Verdict = "bad" if days < 0 else "look" if days < RENEW_DAYS else "good"
        yield Finding(verdict, "certificates", f"{path.name} has {int(days)} days left.")


def _room(folder: ServiceFolder) -> Iterator[Finding]:
    free = shutil.disk_usage(folder.path).free
    verdict: Verdict = "bad" if free < _ROOM_BAD else "look" if free < _ROOM_LOOK else "good"
    yield Finding(verdict, "room", f"{free / (1 << 30):.1f} GiB are free.")


def _ports(folder: ServiceFolder, config: ServiceConfig) -> Iterator[Finding]:
    network = config.network
    ports = {"the SuperLink": network.fleet_port, "the front": network.front_port}
    if not is_running(folder):
        for what, port in ports.items():
            taken = is_taken(port)
            says = f"port {port} of {what} is " + ("taken by another program." if taken else "free.")
            yield Finding("bad" if taken else "good", "ports", says)
        return
    answers = {"the SuperLink": superlink_answers(folder, network), "the front": front_answers(network)}
    for what, port in ports.items():
        says = f"{what} " + ("answers" if answers[what] else "does not answer") + f" on port {port}."
        yield Finding("good" if answers[what] else "bad", "ports", says)


def _versions() -> Iterator[Finding]:
    flower = importlib.metadata.version("flwr")
    same = flower == _FLOWER
    says = f"Flower is {flower}" + ("." if same else f", and this fedrec was tried with {_FLOWER}.")
    yield Finding("good" if same else "look", "versions", says)


def _registry(folder: ServiceFolder, config: ServiceConfig) -> Iterator[Finding]:
    try:
        with Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config)) as registry:
            count = sum(len(registry.releases(name)) for name in folder.names())
    except FedrecError as error:
        yield Finding("bad", "registry", str(error))
        return
    yield Finding("good", "registry", f"it answers, with {count} releases.")


def _catalogues(folder: ServiceFolder) -> Iterator[Finding]:
    names = folder.names()
    if not names:
        yield Finding("look", "catalogues", "there is none. Add one with `fedrec server add-catalogue`.")
    for name in names:
        try:
            require_served(load_scenario(folder.catalogue(name).scenario))
        except FedrecError as error:
            yield Finding("bad", "catalogues", f"{name}: {error}")
        else:
            yield Finding("good", "catalogues", f"{name} can be served.")
