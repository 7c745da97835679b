"""What a device says of itself when it joins: two public keys, and proof that it holds their secrets.

The node key is what the SuperLink knows a connection by; the identity key is who the
device is to the others, over every change of its node key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fedrec.errors import VerificationError

LARGEST_REQUEST = 8_192
_FORMAT = "fedrec enrolment 1"
_PURPOSE = b"fedrec enrolment request\n"
# What JSON, hexadecimal digits, keys and signatures of a stranger raise; of a key that is compressed, cryptography says
# that it is not implemented.
_UNSOUND = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    NotImplementedError,
    UnsupportedAlgorithm,
    InvalidSignature,
)
_HASH = ec.ECDSA(hashes.SHA384())
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_WORDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest:
    """node_key: in OpenSSH's form, of curve P-384. identity_key: Ed25519, in hex.

    replaces: the identity key that the operator knows the device by, where this request changes its
    keys. made_at: UTC seconds, by the device's clock.
    """

    node_key: str
    identity_key: str
    nonce: str
    made_at: int
    replaces: str | None = None

    def content(self) -> bytes:
        """What is signed."""
        return _PURPOSE + json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


def signed_request(
    request: EnrolmentRequest,
    *,
    node: ec.EllipticCurvePrivateKey,
    identity: Ed25519PrivateKey,
    replaced: Ed25519PrivateKey | None = None,
) -> bytes:
    """The request as the device hands it over, signed with every key that it speaks of."""
    content = request.content()
    signatures = {"node": node.sign(content, _HASH).hex(), "identity": identity.sign(content).hex()}
    if replaced is not None:
        signatures["replaced"] = replaced.sign(content).hex()
    return json.dumps({"format": _FORMAT, **asdict(request), "signatures": signatures}, indent=2).encode() + b"\n"


def read_request(content: bytes) -> EnrolmentRequest:
    """The request that whoever holds its keys made; raises VerificationError for anything else."""
    try:
        if len(content) > LARGEST_REQUEST:
            raise ValueError("too long")
        table = json.loads(content)
        if table.pop("format") != _FORMAT:
            raise ValueError("another format")
        signatures = table.pop("signatures")
        request = EnrolmentRequest(**_checked(table))
        _require_signed(request, signatures)
    except _UNSOUND:
        raise VerificationError(
            "This is no sound enrolment request: it is damaged, or was not made by whoever holds its keys. "
            "Ask the device for a new one: `fedrec client enrol`."
        ) from None
    return request


def fingerprint(request: EnrolmentRequest) -> str:
    """Five words that stand for the two keys: read aloud on one side and compared on the other.

    80 bits of their hash as proquints (arXiv:0901.4016).
    """
    keys = f"{request.node_key}\n{request.identity_key}".encode()
    digest = hashlib.sha256(b"fedrec enrolment keys\n" + keys).digest()
    return "-".join(_word(int.from_bytes(digest[2 * place : 2 * place + 2], "big")) for place in range(_WORDS))


def ssh_line(key: ec.EllipticCurvePublicKey) -> str:
    """A node's public key on one line, as OpenSSH and Flower write it."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@lru_cache(maxsize=2**17)
def flower_key(node_key: str) -> bytes:
    """A node's public key as Flower's list of nodes has it, which is asked for in every round."""
    key = load_ssh_public_key(node_key.encode("ascii"))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _word(number: int) -> str:
    """Sixteen bits as five letters that can be said.

    >>> _word(0x7F00), _word(0x0001)
    ('lusab', 'babad')
    """
    letters = (_CONSONANTS[number >> 12], _VOWELS[number >> 10 & 3], _CONSONANTS[number >> 6 & 15])
    return "".join((*letters, _VOWELS[number >> 4 & 3], _CONSONANTS[number & 15]))


def _checked(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a request, each of its kind; raises ValueError for others."""
    if set(table) != {field.name for field in fields(EnrolmentRequest)}:
        raise ValueError("other fields")
    if type(table["made_at"]) is not int or table["made_at"] < 0:
        raise ValueError("no time")
    hexes = {"identity_key": 32, "nonce": 16, **({} if table["replaces"] is None else {"replaces": 32})}
    for name, size in hexes.items():
        # One way of writing each: the registry compares keys as texts.
        if bytes.fromhex(table[name]).hex() != table[name] or len(table[name]) != 2 * size:
            raise ValueError(name)
    if table["replaces"] == table["identity_key"]:
        raise ValueError("replaces itself")
    return table


def _require_signed(request: EnrolmentRequest, signatures: Mapping[str, str]) -> None:
    content = request.content()
    node = load_ssh_public_key(request.node_key.encode("ascii"))
    if not isinstance(node, ec.EllipticCurvePublicKey) or not isinstance(node.curve, ec.SECP384R1):
        raise ValueError("another kind of key")
    if ssh_line(node) != request.node_key:
        raise ValueError("another way of writing it")
    node.verify(bytes.fromhex(signatures["node"]), content, _HASH)
    _public(request.identity_key).verify(bytes.fromhex(signatures["identity"]), content)
    if request.replaces is not None:
        _public(request.replaces).verify(bytes.fromhex(signatures["replaced"]), content)


def _public(key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
