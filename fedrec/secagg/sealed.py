"""A neighbour's two shares on their way through the server, which can neither read nor redirect them.

The key is of one session, one roster and one direction, so a message is nothing to anybody else, nor in another round.
"""

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedrec.errors import ProtocolError
from fedrec.secagg.framing import framed, require_pair, require_roster
from fedrec.secagg.keys import KeyPair, Session, agree
from fedrec.secagg.shares import LARGEST_POINT, SHARE_BYTES, share_value

_POINT_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
SEALED_BYTES = _NONCE_BYTES + _POINT_BYTES + 2 * SHARE_BYTES + _TAG_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerShares:
    """The shares of a client's mask key and of its self-mask seed that one neighbour holds; printing shows neither.

    Raises ProtocolError if a share or the point is malformed.
    """

    point: int
    mask_share: bytes = field(repr=False)
    seed_share: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if type(self.point) is not int or not 1 <= self.point <= LARGEST_POINT:
            raise ProtocolError(f"A share's point is not from 1 to {LARGEST_POINT}. Leave its sender out.")
        share_value(self.mask_share)
        share_value(self.seed_share)


def seal(
    shares: PeerShares, *, own: KeyPair, other: bytes, session: Session, roster: bytes, sender: int, receiver: int
) -> bytes:
    """The shares as only the receiver can read them, and only as the sender's in this session and roster.

    own, other: the cipher keys of the sender and the receiver. Always `SEALED_BYTES` long.
    """
    bound = _bound(session, roster, sender, receiver)
    content = shares.point.to_bytes(_POINT_BYTES) + shares.mask_share + shares.seed_share
    # A direction has a key of its own; the nonce serves a client that lost what it sent and seals other shares.
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(_key(own, other, bound)).encrypt(nonce, content, bound)


def unseal(
    sealed: bytes, *, own: KeyPair, other: bytes, session: Session, roster: bytes, sender: int, receiver: int
) -> PeerShares:
    """The shares that the sender sealed for the receiver in this session and roster.

    own, other: the cipher keys of the receiver and the sender. Raises ProtocolError for anything else.
    """
    bound = _bound(session, roster, sender, receiver)
    if not isinstance(sealed, bytes) or len(sealed) != SEALED_BYTES:
        raise _unsound(sender)
    nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        opened = ChaCha20Poly1305(_key(own, other, bound)).decrypt(nonce, content, bound)
    except InvalidTag:
        raise _unsound(sender) from None
    middle = _POINT_BYTES + SHARE_BYTES
    return PeerShares(
        point=int.from_bytes(opened[:_POINT_BYTES]),
        mask_share=opened[_POINT_BYTES:middle],
        seed_share=opened[middle:],
    )


def _bound(session: Session, roster: bytes, sender: int, receiver: int) -> bytes:
    require_pair(sender, receiver)
    require_roster(roster)
    return framed("shares", session.id, roster, sender, receiver)


def _key(own: KeyPair, other: bytes, bound: bytes) -> bytes:
    return agree(own, other=other, purpose="sealed shares", context=bound)


def _unsound(sender: int) -> ProtocolError:
    return ProtocolError(
        f"The shares said to be of client {sender} are damaged, or for another client, round or roster. Leave it out."
    )
