"""Whose keys they are, what a signature or a derived key is good for, and in which session.

Everything that is signed, hashed or derived names its purpose and its session: what was made for one round, stage,
pair or direction is nothing in another. X25519, HKDF and Ed25519 are those of the `cryptography` package.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedrec.errors import ProtocolError
from fedrec.secagg.framing import framed, require_length, require_number

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_LARGEST_NAME = 1024
_FIELD = 2**255 - 19
# Points of order 2, 4 and 8: whoever sends one knows every key agreed with it. Bernstein 2006, "Curve25519".
_LOW_ORDER = frozenset(
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD - 1,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One attempt at one round's sum. token: new for each attempt, so that a round tried again is another session."""

    run: str
    round: int
    token: str

    def __post_init__(self) -> None:
        require_number(self.round, what="round")
        for name in (self.run, self.token):
            if not isinstance(name, str) or len(name) > _LARGEST_NAME or not _is_text(name):
                raise ProtocolError(
                    f"A session's run and token are text of at most {_LARGEST_NAME} characters. Stay out of this one."
                )

    @property
    def id(self) -> bytes:
        """32 bytes that no other session has."""
        return _id(self)


@lru_cache(maxsize=16)
def _id(session: Session) -> bytes:
    # Whatever is derived or signed asks for it.
    return hashlib.sha256(framed("session", session.run, session.round, session.token)).digest()


def _is_text(name: str) -> bool:
    """Whether it can be written as UTF-8: JSON may bring half of a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class KeyPair:
    """An X25519 key pair of one client, one session and one use: mask keys never seal, cipher keys never mask.

    Printing it shows nothing.
    """

    __slots__ = ("_key", "_secrets", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._secrets: dict[bytes, bytes] = {}
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def fresh(cls) -> Self:
        """A pair from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> Self:
        """The pair with this private key; ProtocolError unless it has 32 bytes."""
        require_length(private, KEY_BYTES, what="private key")
        return cls(X25519PrivateKey.from_private_bytes(private))

    @property
    def private(self) -> bytes:
        """The private key's 32 bytes."""
        return self._key.private_bytes_raw()

    def exchange(self, other: bytes) -> bytes:
        """The secret shared with the owner of a public key; of use only to derive keys from.

        Raises ProtocolError for a point that is malformed, of low order, or this pair's own.
        """
        require_point(other)
        if other not in self._secrets:
            self._secrets[other] = self._exchanged(other)
        return self._secrets[other]

    def _exchanged(self, other: bytes) -> bytes:
        if other == self.public:
            raise ProtocolError("Another client's public key is this client's own. Leave that client out.")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError:
            raise _low_order() from None

    def __repr__(self) -> str:
        return "KeyPair()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advert:
    """A client's public keys for one session, signed with its identity key."""

    client: int
    mask_key: bytes
    cipher_key: bytes
    signature: bytes


def advertise(session: Session, *, client: int, mask: KeyPair, cipher: KeyPair, identity: Ed25519PrivateKey) -> Advert:
    """The client's two public keys, signed for this session alone."""
    require_number(client, what="client")
    signature = identity.sign(_advert(session, client, mask.public, cipher.public))
    return Advert(client=client, mask_key=mask.public, cipher_key=cipher.public, signature=signature)


def verify_advert(advert: Advert, *, session: Session, identity_key: bytes) -> None:
    """Return only if the owner of the identity key advertised these two sound keys, for this session.

    Raises ProtocolError.
    """
    require_number(advert.client, what="client")
    require_point(advert.mask_key)
    require_point(advert.cipher_key)
    if advert.mask_key == advert.cipher_key:
        raise ProtocolError(f"Client {advert.client} advertises one key for two uses. Leave it out.")
    content = _advert(session, advert.client, advert.mask_key, advert.cipher_key)
    _verify(advert.signature, content, identity_key=identity_key, what=f"advert of client {advert.client}")


def _advert(session: Session, client: int, mask_key: bytes, cipher_key: bytes) -> bytes:
    return framed("advert", session.id, client, mask_key, cipher_key)


def agree(own: KeyPair, *, other: bytes, purpose: str, context: bytes) -> bytes:
    """32 bytes that only the two owners know, for one purpose and context: HKDF-SHA-256 of their X25519 secret.

    Both get the same, whoever asks; a direction belongs in the context.
    Raises ProtocolError for a point that is malformed, of low order, or the caller's own.
    """
    secret = own.exchange(other)
    return derive(secret, purpose=purpose, context=context + min(own.public, other) + max(own.public, other))


def derive(secret: bytes, *, purpose: str, context: bytes) -> bytes:
    """32 bytes for one purpose and context from a secret of full entropy: HKDF-SHA-256 without a salt."""
    return HKDF(SHA256(), KEY_BYTES, None, framed("key", purpose, context)).derive(secret)


def commitment(seed: bytes, *, session: Session, client: int) -> bytes:
    """What binds a client to its self-mask seed and, as the seed is 32 random bytes, says nothing of it."""
    require_length(seed, KEY_BYTES, what="self-mask seed")
    require_number(client, what="client")
    return hashlib.sha256(framed("commitment", session.id, client, seed)).digest()


def require_point(key: bytes) -> None:
    """Raise ProtocolError unless these bytes are the one way of writing a point that a key may be agreed with."""
    require_length(key, KEY_BYTES, what="public key")
    coordinate = int.from_bytes(key, "little")
    if coordinate >= _FIELD:
        raise ProtocolError("A public key is not written in its one canonical way. Leave that client out.")
    if coordinate in _LOW_ORDER:
        raise _low_order()


def _low_order() -> ProtocolError:
    return ProtocolError("A public key is a point of low order: its secrets are known. Leave that client out.")


def _verify(signature: bytes, content: bytes, *, identity_key: bytes, what: str) -> None:
    require_length(identity_key, KEY_BYTES, what="identity key")
    require_length(signature, SIGNATURE_BYTES, what="signature")
    try:
        Ed25519PublicKey.from_public_bytes(identity_key).verify(signature, content)
    except (InvalidSignature, ValueError):
        raise ProtocolError(f"The {what} is not signed by its identity key for this session. Leave it out.") from None
