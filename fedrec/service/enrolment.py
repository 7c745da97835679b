"""Enrolling and revoking devices: the registry says who is who, and the SuperLink is brought to what it says.

The registry is written first. Whatever is interrupted after that, a lost SuperLink
database included, the next call or the service's next start makes good.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrec.data.store.locks import held
from fedrec.enrolment import LARGEST_REQUEST, EnrolmentRequest, flower_key, read_request
from fedrec.errors import ConfigError, DataError, RefusedError
from fedrec.federation.admission import Admission, admission
from fedrec.identities import Directory, read_directory, signed_directory
from fedrec.privacy.ledger import read_events
from fedrec.registry import nodes as registry_nodes
from fedrec.registry.nodes import Node, Places
from fedrec.registry.registry import Registry
from fedrec.release import signing_key
from fedrec.service.config import load_service
from fedrec.service.folder import ServiceFolder
from fedrec.service.superlink import connection

_LOCK, _LEDGER = "enrolment.lock", "ledger.jsonl"
# Somebody else's call of this command; one takes a few seconds.
_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call. notes: what the operator should know, one line each."""

    nodes: Sequence[Node]
    notes: Sequence[str] = ()


def given_request(path: Path) -> EnrolmentRequest:
    """The request in a file, its signatures checked; raises DataError or VerificationError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_REQUEST + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Name the file that the device wrote.") from None
    return read_request(content)


def enrol(folder: ServiceFolder, registry: Registry, request: EnrolmentRequest, *, catalogue: str) -> Outcome:
    """The device is a client of this catalogue, its node is admitted, and the directory names it.

    The same request again is the same client. Raises RefusedError where there is no place or a key
    was here before, DataError where the SuperLink does not answer: then call it again.
    """
    if catalogue not in folder.names():
        raise ConfigError(
            f"There is no catalogue `{catalogue[:64]}` here, only: {', '.join(folder.names()) or 'none'}."
        )
    limits = load_service(folder).enrolment
    places = Places(most=limits.most, per_day=limits.per_day)
    with held(folder.path / _LOCK, wait=_WAIT_SECONDS):
        first = _least_number(folder, catalogue)
        registry_nodes.ask(
            registry.database, request, catalogue=catalogue, places=places, now=int(time.time()), first=first
        )
        notes = _settle(folder, registry)
    (node,) = (each for each in registry_nodes.nodes(registry.database) if each.node_key == request.node_key)
    return Outcome(nodes=[node], notes=notes)


def revoke(folder: ServiceFolder, registry: Registry, catalogue: str, client: int) -> Outcome:
    """No round asks this client any more, and the SuperLink refuses its node; its number is never given again."""
    with held(folder.path / _LOCK, wait=_WAIT_SECONDS):
        ended = registry_nodes.revoke(registry.database, catalogue, client, now=int(time.time()))
        try:
            notes = _settle(folder, registry)
        except DataError as error:
            notes = [f"{error} Until then its node can connect, and is asked for nothing."]
    return Outcome(nodes=ended, notes=notes)


def settle(folder: ServiceFolder, registry: Registry) -> Sequence[str]:
    """The SuperLink admits who is enrolled and nobody who was, and directories are up to date; what could not be done.

    For the start of a service: also after its SuperLink lost its database. Raises DataError where the
    SuperLink does not answer.
    """
    with held(folder.path / _LOCK, wait=_WAIT_SECONDS):
        return _settle(folder, registry)


def _least_number(folder: ServiceFolder, catalogue: str) -> int:
    """Above every client of the ledger: after a registry was lost or set back, nobody inherits what another spent."""
    events = read_events(folder.catalogue(catalogue).run / _LEDGER)
    return 1 + max((client for event in events for client in event["participants"]), default=-1)


def _settle(folder: ServiceFolder, registry: Registry) -> list[str]:
    _publish_directories(folder, registry)  # first: a revoked key is not vouched for, whoever answers
    address, authority = connection(folder)
    with admission(address, authority=authority, secret=folder.control_secret) as superlink:
        notes = _admit(superlink, registry)
        _dismiss(superlink, registry)
    _publish_directories(folder, registry)
    return notes


def _admit(superlink: Admission, registry: Registry) -> list[str]:
    """Whoever asked or is enrolled is admitted, and enrolled; a note on each that cannot be."""
    admitted, notes = superlink.admitted(), []
    for node in registry_nodes.nodes(registry.database):
        if node.state not in ("asked", "enrolled"):
            continue
        key = flower_key(node.node_key)
        try:
            if key not in admitted:
                superlink.admit(key)
            if node.state == "asked":
                registry_nodes.confirm(registry.database, node.node_key, now=int(time.time()))
        except RefusedError as error:
            notes.append(
                f"Client {node.client} of {node.catalogue} is not admitted, and has to be enrolled anew: {error}"
            )
    return notes


def _dismiss(superlink: Admission, registry: Registry) -> None:
    """Who was replaced or revoked is admitted no more.

    Whom the registry does not know is left alone, and asked for nothing: a dismissal is for good, and
    a registry that was lost or misnamed must not lock everybody out.
    """
    states = {flower_key(node.node_key): node.state for node in registry_nodes.nodes(registry.database)}
    for key, node in superlink.admitted().items():
        if states.get(key) in ("replaced", "revoked"):
            superlink.dismiss(node.id)


def _publish_directories(folder: ServiceFolder, registry: Registry) -> None:
    """The signed directory of each catalogue names its enrolled clients; a new serial where that changed."""
    for catalogue in folder.names():
        key = signing_key(folder.signing_key)
        document = registry.directory(catalogue)
        before = read_directory(document, signer=key.public_key()) if document else None
        entries = registry_nodes.identities(registry.database, catalogue)
        if before is None or before.entries != entries:
            # By the clock: a registry that was lost would begin at one again, which devices take for an old one.
            serial = max(before.serial + 1 if before else 1, int(time.time()))
            later = Directory(catalogue=catalogue, serial=serial, entries=entries)
            registry.keep_document(f"directory/{catalogue}", signed_directory(later, key), serial=later.serial)
