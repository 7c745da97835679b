"""What one client tells another through the server, which can keep it back but not make it up.

Two things are told: "I masked my input with our mask" (an inclusion) and "I take you for a survivor" (an
acknowledgement). Only the receiver needs to believe them, so a code under a key of the two is enough: a quarter
of a signature, and made in microseconds. What the two made their inputs from is in it: a client that was given other
things to train from is believed nothing.
"""

import hmac
from typing import Literal

from fedrec.secagg.framing import framed, require_pair, require_roster
from fedrec.secagg.keys import KeyPair, Session, agree

Saying = Literal["included", "survived"]
TOKEN_BYTES = 16


def token_key(own: KeyPair, *, other: bytes, session: Session, roster: bytes, pair: tuple[int, int]) -> bytes:
    """The key of the tokens between two clients in this session and roster; the same for both.

    own, other: their cipher keys, which nobody holds shares of. pair: their numbers, in any order.
    """
    require_pair(*pair)
    require_roster(roster)
    context = framed("tokens", session.id, roster, min(pair), max(pair))
    return agree(own, other=other, purpose="tokens", context=context)


def token(key: bytes, *, saying: Saying, sender: int, receiver: int, about: bytes) -> bytes:
    """What shows the receiver that the sender said this to it: nobody else has the key.

    about: what the sender's input was made from, as a hash.
    """
    return hmac.digest(key, framed(saying, sender, receiver, about), "sha256")[:TOKEN_BYTES]


def said(given: bytes, *, key: bytes, saying: Saying, sender: int, receiver: int, about: bytes) -> bool:
    """Whether the sender said this to the receiver, and of the same."""
    return hmac.compare_digest(given, token(key, saying=saying, sender=sender, receiver=receiver, about=about))
