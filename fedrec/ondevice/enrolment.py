"""A device's own keys, in its encrypted store, and whom it takes for the other devices.

New keys lie beside those in use until the operator has taken them over: a device that
asked for a change goes on under its old keys meanwhile.
"""

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key

from fedrec.data.store.store import Store
from fedrec.enrolment import EnrolmentRequest, signed_request, ssh_line
from fedrec.errors import RefusedError, VerificationError
from fedrec.identities import Directory, read_directory
from fedrec.ondevice.releases import SIGNER
from fedrec.release import public_key

_NODE, _IDENTITY = "enrolment.node", "enrolment.identity"
_NEXT_NODE, _NEXT_IDENTITY = "enrolment.next_node", "enrolment.next_identity"
_DIRECTORY, _NODE_ID = "enrolment.directory", "enrolment.node_id"


@dataclass(frozen=True, slots=True, repr=False)
class DeviceKeys:
    """The two secrets by which a device is known."""

    node: ec.EllipticCurvePrivateKey
    identity: Ed25519PrivateKey

    @property
    def identity_key(self) -> str:
        """The public half of the identity, in hex."""
        return self.identity.public_key().public_bytes_raw().hex()

    def node_secret(self) -> bytes:
        """The node's private key in OpenSSH's form, which Flower reads. It must not lie on a disk."""
        return self.node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def enrolment_request(store: Store, *, now: float, rotate: bool = False) -> bytes:
    """What the operator is given: this device's public keys, made on first use, and proof that it has their secrets.

    rotate: ask for new keys in place of those in use, in their name. Asked again, the request is for
    the same keys. Raises RefusedError where there are none to take the place of.
    """
    with store.transaction(durable=True):
        known = _kept(store, _NODE, _IDENTITY)
        if rotate and known is None:
            raise RefusedError("This device has no keys yet that others could replace. Leave out --rotate.")
        names = (_NEXT_NODE, _NEXT_IDENTITY) if rotate else (_NODE, _IDENTITY)
        keys = _kept(store, *names) or _made(store, *names)
    replaced = known if rotate else None
    request = EnrolmentRequest(
        node_key=ssh_line(keys.node.public_key()),
        identity_key=keys.identity_key,
        nonce=secrets.token_hex(16),
        made_at=int(now),
        replaces=replaced.identity_key if replaced else None,
    )
    return signed_request(
        request, node=keys.node, identity=keys.identity, replaced=replaced.identity if replaced else None
    )


def keys_to_try(store: Store) -> list[DeviceKeys]:
    """The keys that the server may know this device by, the newest first; empty before the first request."""
    found = (_kept(store, _NEXT_NODE, _NEXT_IDENTITY), _kept(store, _NODE, _IDENTITY))
    return [keys for keys in found if keys is not None]


def keys_accepted(store: Store, keys: DeviceKeys, *, node: int) -> None:
    """The server knows the device by these keys, as this node: the ones that they replaced are destroyed."""
    with store.transaction(durable=True):
        store.set_value(_NODE_ID, {"identity_key": keys.identity_key, "node": str(node)})
        waiting = _kept(store, _NEXT_NODE, _NEXT_IDENTITY)
        if waiting is None or waiting.identity_key != keys.identity_key:
            return
        _keep(store, keys, _NODE, _IDENTITY)
        store.delete_blob(_NEXT_NODE)
        store.delete_blob(_NEXT_IDENTITY)


def last_node(store: Store, keys: DeviceKeys) -> int | None:
    """The node that these keys were the last time; None where they never were one."""
    known = store.value(_NODE_ID) or {}
    return int(known["node"]) if known.get("identity_key") == keys.identity_key else None


def forget_keys(store: Store) -> None:
    """This device is nobody to the server: the next request is somebody new's."""
    with store.transaction(durable=True):
        for name in (_NODE, _IDENTITY, _NEXT_NODE, _NEXT_IDENTITY, _DIRECTORY):
            store.delete_blob(name)
        store.delete_value(_NODE_ID)


def pin_directory(store: Store, document: bytes, *, catalogue: str | None = None) -> Directory:
    """From now on this is whom the device takes for the others of its catalogue.

    catalogue: the one that is meant, where nothing is pinned yet.

    Raises VerificationError unless the signer of the device's releases made it, RefusedError if it
    is older than the one that is pinned, of another catalogue, or another one of the same serial.
    """
    given = _read(store, document)
    if catalogue is not None and given.catalogue != catalogue:
        raise RefusedError(f"This directory of identity keys is not of catalogue `{catalogue}`. Nothing was pinned.")
    with store.transaction(durable=True):
        pinned = pinned_directory(store)
        if pinned is not None:
            _require_later(given, pinned)
        store.set_blob(_DIRECTORY, document)
    return given


def pinned_directory(store: Store) -> Directory | None:
    """Whom the device takes for the others; None before the first directory."""
    document = store.blob(_DIRECTORY)
    return None if document is None else _read(store, document)


def own_client(store: Store) -> int | None:
    """The client that the pinned directory has this device for; None where it does not name it."""
    directory = pinned_directory(store)
    own = {keys.identity_key for keys in keys_to_try(store)}
    clients = directory.entries.items() if directory else ()
    return next((client for client, key in clients if key in own), None)


def _read(store: Store, document: bytes) -> Directory:
    return read_directory(document, signer=public_key(store.folder / SIGNER))


def _require_later(given: Directory, pinned: Directory) -> None:
    if given.catalogue != pinned.catalogue:
        raise RefusedError("This directory of identity keys is of another catalogue than the pinned one.")
    if given.serial < pinned.serial:
        raise RefusedError(
            f"This directory of identity keys has serial {given.serial}, and {pinned.serial} is pinned already: "
            "an older one is never taken. Fetch it again; if that does not help, do not trust this server."
        )
    if given.serial == pinned.serial and given != pinned:
        raise RefusedError(
            f"There are two directories of identity keys with serial {given.serial}: somebody is shown other keys "
            "than this device. Do not trust this server."
        )


def _made(store: Store, node_name: str, identity_name: str) -> DeviceKeys:
    keys = DeviceKeys(ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate())
    _keep(store, keys, node_name, identity_name)
    return keys


def _keep(store: Store, keys: DeviceKeys, node_name: str, identity_name: str) -> None:
    store.set_blob(node_name, keys.node_secret())
    store.set_blob(identity_name, keys.identity.private_bytes_raw())


def _kept(store: Store, node_name: str, identity_name: str) -> DeviceKeys | None:
    node, identity = store.blob(node_name), store.blob(identity_name)
    if node is None or identity is None:
        return None
    try:
        loaded = load_ssh_private_key(node, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("another kind of key")
        return DeviceKeys(loaded, Ed25519PrivateKey.from_private_bytes(identity))
    except ValueError:
        raise VerificationError("The keys of this device cannot be read. Erase it and enrol it anew.") from None
