"""The messages of a sum: for each of the five stages a request to each client, and its answer."""

from dataclasses import dataclass
from typing import Annotated

from fedrec.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, Advert
from fedrec.secagg.sealed import SEALED_BYTES
from fedrec.secagg.shares import SHARE_BYTES
from fedrec.secagg.tokens import TOKEN_BYTES
from fedrec.secagg.wire import Blobs, Numbers, Table, fixed, rows

HASH_BYTES = 32

Key = Annotated[bytes, fixed(KEY_BYTES)]
Hash = Annotated[bytes, fixed(HASH_BYTES)]
Signature = Annotated[bytes, fixed(SIGNATURE_BYTES)]
Adverts = Annotated[Table, rows(2 * KEY_BYTES + SIGNATURE_BYTES)]
Sealed = Annotated[Table, rows(SEALED_BYTES)]
Tokens = Annotated[Table, rows(TOKEN_BYTES)]
Shares = Annotated[Table, rows(SHARE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterRequest:
    """To each client that is asked: all that are."""

    clients: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvertAnswer:
    """The client's keys, and the neighbours that it drew."""

    mask_key: Key
    cipher_key: Key
    signature: Signature
    drawn: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """The keys of the neighbours that the client drew, as far as they came."""

    adverts: Adverts


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareAnswer:
    """The client's secrets in shares, one sealed for each of them, and what binds it to its self-mask seed."""

    commitment: Hash
    sealed: Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRequest:
    """Which of the drawn neighbours are still there; what those that drew this client sealed for it, and their keys."""

    present: Numbers
    sealed: Sealed
    adverts: Adverts


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAnswer:
    """The masked words, and for each drawn neighbour that is still there that its mask is in them."""

    included: Tokens
    words: Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class AckRequest:
    """Whose masked input came, of the client's neighbours, and whose did not; and the inclusions meant for it."""

    survivors: Numbers
    dropped: Numbers
    included: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AckAnswer:
    """For each survivor that drew this client: that this client takes it for one."""

    survived: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealRequest:
    """Which of the client's drawn neighbours take it for a survivor, in their own words."""

    survived: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealAnswer:
    """The shares of the survivors' self-mask seeds, and those of the mask keys of the dropped."""

    seed_shares: Shares
    mask_shares: Shares


def advert_of(client: int, row: bytes) -> Advert:
    """The advert in a table's row."""
    mask_key, cipher_key = row[:KEY_BYTES], row[KEY_BYTES : 2 * KEY_BYTES]
    return Advert(client=client, mask_key=mask_key, cipher_key=cipher_key, signature=row[2 * KEY_BYTES :])
