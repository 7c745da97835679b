"""What a client makes with each of its peers alone: sealed shares, the keys of pair masks, and tokens.

Everything is bound to the session and to the roster that the client was shown.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from fedrec.errors import ProtocolError
from fedrec.secagg.keys import KEY_BYTES, KeyPair, Session, verify_advert
from fedrec.secagg.masks import pair_mask_key
from fedrec.secagg.messages import advert_of
from fedrec.secagg.roster import Roster
from fedrec.secagg.sealed import PeerShares, seal, unseal
from fedrec.secagg.tokens import Saying, said, token, token_key
from fedrec.secagg.wire import Table


class Peers:
    """A client's side of every pair that it is in, from its own two key pairs and the keys of each peer.

    tokens: the keys of the tokens between the two, as `token_keys` gives them. about: what the client's input is made
    from, as a hash.
    """

    def __init__(
        self,
        session: Session,
        *,
        client: int,
        roster: Roster,
        mask: KeyPair,
        cipher: KeyPair,
        keys: Table,
        tokens: Table,
        about: bytes,
    ) -> None:
        self._session = session
        self._client = client
        self._point = roster.point(client)
        self._roster = roster.hash(session)
        self._mask = mask
        self._cipher = cipher
        self._keys = keys
        self._tokens = tokens
        self._about = about

    def seal(self, other: int, shares: PeerShares) -> bytes:
        """The shares, for this peer alone."""
        return seal(
            shares,
            own=self._cipher,
            other=self._cipher_key(other),
            session=self._session,
            roster=self._roster,
            sender=self._client,
            receiver=other,
        )

    def opened(self, sealed: Table) -> dict[int, PeerShares]:
        """The shares that peers sealed for this client, but for those that are damaged or of another's point."""
        opened = {}
        for other, raw in sealed.items():
            with suppress(ProtocolError):
                shares = self._unseal(other, raw)
                if shares.point == self._point:
                    opened[other] = shares
        return opened

    def pair_key(self, other: int) -> bytes:
        """The key of the mask that the two share."""
        theirs, pair = self._keys[other][:KEY_BYTES], (self._client, other)
        return pair_mask_key(self._mask, other=theirs, session=self._session, roster=self._roster, pair=pair)

    def token_keys(self, others: Iterable[int]) -> dict[int, bytes]:
        """The keys of the tokens between the client and each of these peers; ProtocolError if one's key is unsound."""
        return {other: self._token_key(other) for other in others}

    def tell(self, other: int, saying: Saying) -> bytes:
        """A token by which the peer knows that this client said so."""
        return token(self._tokens[other], saying=saying, sender=self._client, receiver=other, about=self._about)

    def heard(self, tokens: Table, saying: Saying) -> list[int]:
        """The peers whose tokens show that they said so to this client."""
        return [
            other
            for other, given in tokens.items()
            if said(
                given,
                key=self._tokens[other],
                saying=saying,
                sender=other,
                receiver=self._client,
                about=self._about,
            )
        ]

    def _unseal(self, other: int, raw: bytes) -> PeerShares:
        return unseal(
            raw,
            own=self._cipher,
            other=self._cipher_key(other),
            session=self._session,
            roster=self._roster,
            sender=other,
            receiver=self._client,
        )

    def _token_key(self, other: int) -> bytes:
        theirs, pair = self._cipher_key(other), (self._client, other)
        return token_key(self._cipher, other=theirs, session=self._session, roster=self._roster, pair=pair)

    def _cipher_key(self, other: int) -> bytes:
        return self._keys[other][KEY_BYTES:]


def verified_keys(adverts: Table, *, session: Session, directory: Mapping[int, bytes]) -> dict[int, bytes]:
    """The mask key and the cipher key of each; ProtocolError unless its identity key signed them for this session."""
    for other, row in adverts.items():
        if other not in directory:
            raise ProtocolError(f"Client {other} is no longer in the pinned directory. Stay out of this round.")
        verify_advert(advert_of(other, row), session=session, identity_key=directory[other])
    return {other: row[: 2 * KEY_BYTES] for other, row in adverts.items()}
