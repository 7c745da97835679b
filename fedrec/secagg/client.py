"""A client's side of a sum: five requests in, five answers out, and a state that fits between any two.

What an honest client keeps to, whatever the server says, and what follows:
1. It draws its neighbours itself, after the roster is fixed for it, by a secret of its identity key, the session and
   that roster: asked for the same sum again, after it forgot that it was asked, it draws the same. All that it says
   later is bound to the roster's hash, and to the identity keys that its directory had for all of it at that moment:
where they are others at a later stage it stays out. Keys count if their owner's identity key signed them for this
session.
2. It masks with every neighbour, drawn or drawing, and tells each drawn one so under a key that only the two have (an
   inclusion), and what the input was made from. It masks one input only.
3. It takes each neighbour for a survivor or for dropped, once, and tells the survivors that drew it so (an
   acknowledgement).
4. It reveals nothing unless `threshold` of the neighbours that it drew and masked with acknowledge it. Then it reveals
   the seed share of a survivor whose inclusion it saw, or the mask share of one that dropped; by its own list of
   stage 3, not by what it is asked.

Let the self-mask of an honest client i be known. Then `threshold` of its drawn neighbours revealed seed shares. Each
honest j of them masked with i, saw that i masked with it, and was itself acknowledged by `threshold` of its own. As
2 threshold > neighbours + those of them that are corrupt, neither i's nor j's mask key can be known: of those that
said "survivor" the honest say nothing else. So the mask of i and j is in both their inputs and can be taken off
neither, and j's input is in whatever sum i's is in. A sum holds, with each honest client, `threshold` of the neighbours
that this client drew which are in the same sum or corrupt; `parameters` says how small such a set can be. A server
that shows different rosters, or adapts what it shows to draws that it has seen, gains nothing in one session under one
roster: the bound counts every set, and each of its members draws once, uniformly, from the one roster under which it
can belong to that set. Nor is a client twice in one sum, with other keys, after it forgot the first time: it drew the
same neighbours, and `threshold` of them for each time are more than there are. Another roster, or another session, is
another attempt, with a failure of its own.

An acknowledgement alone would not do: a server could tell i that half of its neighbours are gone, tell those that i is
there, and have them reveal i's seed though none of their masks is in i's input. The inclusion closes that.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import ProtocolError, RefusedError
from fedrec.secagg.client_state import ClientState
from fedrec.secagg.keys import KeyPair, advertise, commitment
from fedrec.secagg.masks import Words, add_mask, self_mask_key, subtract_mask, word_type
from fedrec.secagg.messages import (
    HASH_BYTES,
    AckAnswer,
    AckRequest,
    AdvertAnswer,
    MaskAnswer,
    MaskRequest,
    RevealAnswer,
    RevealRequest,
    RosterRequest,
    ShareAnswer,
    ShareRequest,
)
from fedrec.secagg.peers import Peers, verified_keys
from fedrec.secagg.roster import Roster, draw_neighbours, draw_secret, require_roster_for
from fedrec.secagg.sealed import PeerShares
from fedrec.secagg.shares import SHARE_BYTES, split
from fedrec.secagg.terms import Stage, Terms
from fedrec.secagg.wire import Address, Table, packed, unpacked
from fedrec.secagg.words import packed_words

M = TypeVar("M")
_Done = tuple[bytes, ClientState]


class SecureClient:
    """One client in one sum. Make one for a session, once; after every answer keep `pack()` durably, THEN send it.

    Each stage takes the server's request and gives the answer. The same request again gives the same answer; another
    request for a stage that was answered, or a stage out of order, is refused, and leaves the client as it was.
    Raises ProtocolError for what no honest server sends, RefusedError where the client will not go on.
    directory: the pinned identity key of each enrolled client, raw.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        client: int,
        identity: Ed25519PrivateKey,
        directory: Mapping[int, bytes],
        state: ClientState | None = None,
    ) -> None:
        self.terms = terms
        self.client = client
        self._identity = identity
        self._directory = directory
        self._address = Address(session=terms.session.id, client=client)
        self._state = state or ClientState.fresh(terms.digest)
        self._mask = KeyPair.from_bytes(self._state.mask_private)
        self._cipher = KeyPair.from_bytes(self._state.cipher_private)
        # What a sound request for a masked input leads to, by the request's hash: worked out once.
        self._maskable: tuple[bytes, ClientState] | None = None

    @classmethod
    def unpack(
        cls, raw: bytes, *, terms: Terms, client: int, identity: Ed25519PrivateKey, directory: Mapping[int, bytes]
    ) -> Self:
        """The client that was packed; ProtocolError unless it is this one's, with these terms.

        RefusedError where somebody of its roster has another identity key than when the client was asked first.
        """
        state = unpacked(ClientState, raw, Address(session=terms.session.id, client=client))
        if state.terms != terms.digest or len(state.answers) > len(Stage) or not state.is_sound:
            raise ProtocolError(
                "A kept state of a secure sum is damaged, or of other terms. Drop it, and stay out of this round."
            )
        if state.roster and state.bound_roster != state.bound_roster.under(directory):
            raise RefusedError("A client of this round has another identity key than at its start. Stay out of it.")
        return cls(terms, client=client, identity=identity, directory=directory, state=state)

    def pack(self) -> bytes:
        """All that the client needs to go on after a restart, but for its identity key; keep it encrypted."""
        return packed(self._state, self._address)

    @property
    def stage(self) -> Stage | None:
        """The stage whose request comes next; None after the last."""
        answered = len(self._state.answers)
        return Stage(answered) if answered < len(Stage) else None

    def advertise(self, request: bytes) -> bytes:
        """The client's keys for this session, and the neighbours that it drew from the roster."""
        return self._once(Stage.ADVERTISE, request, self._advertise)

    def share(self, request: bytes) -> bytes:
        """The client's mask key and self-mask seed in shares, one sealed for each drawn neighbour whose keys came."""
        return self._once(Stage.SHARE, request, self._share)

    def require_maskable(self, request: bytes) -> None:
        """Return only if `masked` would answer this request: to be asked before words are made and paid for."""
        if len(self._state.answers) > Stage.MASK:
            self._kept(Stage.MASK, request)
        else:
            self._before_masking(request)

    def masked(self, request: bytes, words: Words, *, about: bytes = b"") -> bytes:
        """The words under all masks: the only ones that this client ever masks, also after a restart.

        words: `size` words below 2^bits, of the type that `masks.word_type` gives; the caller keeps them, or the
        answer, as the state holds the answer's hash alone. about: what they were made from. Whoever was given
        something else to make them from is no neighbour: its inclusion is not believed, nor is this client's by it.
        """
        self._require_words(words)
        if len(self._state.answers) > Stage.MASK:
            return self._masked_again(request, words)
        state = replace(self._before_masking(request), about=_hash(about))
        answer = self._mask_answer(state, words)
        self._answered(request, _hash(answer), state)
        return answer

    def acknowledge(self, request: bytes) -> bytes:
        """What tells each surviving neighbour that drew this client that this client takes it for a survivor."""
        return self._once(Stage.ACKNOWLEDGE, request, self._acknowledge)

    def reveal(self, request: bytes) -> bytes:
        """Of each neighbour that drew this client, one share: a survivor's of its seed, a dropped one's of its key.

        The client's own secrets of this session are forgotten with that.
        """
        return self._once(Stage.REVEAL, request, self._reveal)

    def _once(self, stage: Stage, request: bytes, work: Callable[[bytes], _Done]) -> bytes:
        if len(self._state.answers) > stage:
            return self._kept(stage, request)
        answer, state = work(request)
        self._answered(request, answer, state)
        return answer

    def _kept(self, stage: Stage, request: bytes) -> bytes:
        kept = self._state.answers[stage]
        if kept[:HASH_BYTES] != _hash(request):
            raise ProtocolError(
                f"Client {self.client} answered another request of stage {stage.name.lower()}. Refuse this one."
            )
        return kept[HASH_BYTES:]

    def _answered(self, request: bytes, answer: bytes, state: ClientState) -> None:
        self._state = replace(state, answers=(*self._state.answers, _hash(request) + answer))

    def _advertise(self, request: bytes) -> _Done:
        roster = Roster(self._read(RosterRequest, request, stage=Stage.ADVERTISE).clients).under(self._directory)
        parameters, session = self.terms.parameters, self.terms.session
        require_roster_for(self.client, roster=roster, parameters=parameters, enrolled=self._directory)
        secret = draw_secret(self._identity, session=session, roster=roster)
        drawn = draw_neighbours(self.client, roster=roster, parameters=parameters, secret=secret)
        advert = advertise(session, client=self.client, mask=self._mask, cipher=self._cipher, identity=self._identity)
        answer = AdvertAnswer(
            mask_key=advert.mask_key, cipher_key=advert.cipher_key, signature=advert.signature, drawn=drawn
        )
        state = replace(self._state, roster=roster.clients, identities=roster.identities, drawn=drawn)
        return packed(answer, self._address), state

    def _share(self, request: bytes) -> _Done:
        adverts = self._read(ShareRequest, request, stage=Stage.SHARE).adverts
        self._require_some_of(self._state.drawn, given=adverts)
        state = replace(self._met(adverts), asked=tuple(adverts))
        roster, threshold = state.bound_roster, self.terms.parameters.threshold
        points = {other: roster.point(other) for other in state.asked}
        masks = split(self._mask.private, threshold=threshold, points=list(points.values()))
        seeds = split(state.seed, threshold=threshold, points=list(points.values()))
        peers = self._peers(state)
        sealed = {
            other: peers.seal(other, PeerShares(point=point, mask_share=masks[point], seed_share=seeds[point]))
            for other, point in points.items()
        }
        bound = commitment(state.seed, session=self.terms.session, client=self.client)
        return packed(ShareAnswer(commitment=bound, sealed=sealed), self._address), state

    def _before_masking(self, request: bytes) -> ClientState:
        """The state with what the request for a masked input says."""
        if self._maskable is None or self._maskable[0] != _hash(request):
            self._maskable = _hash(request), self._read_neighbours(request)
        return self._maskable[1]

    def _read_neighbours(self, request: bytes) -> ClientState:
        found = self._read(MaskRequest, request, stage=Stage.MASK)
        self._require_some_of(self._state.asked, given=found.present)
        Roster(self._state.roster).require_members(found.sealed, but=self.client)
        if found.adverts.keys() != found.sealed.keys() - self._state.keys.keys():
            raise ProtocolError(f"The keys of client {self.client}'s neighbours are not all there. Refuse the request.")
        state = replace(self._met(found.adverts), present=found.present, drawn_by=tuple(found.sealed))
        opened = self._peers(state).opened(found.sealed)
        held = {other: shares.mask_share + shares.seed_share for other, shares in opened.items()}
        return replace(state, held=held)

    def _met(self, adverts: Table) -> ClientState:
        """The state with the keys of these peers, too, and what follows from them for the tokens of later stages."""
        new = verified_keys(adverts, session=self.terms.session, directory=self._directory)
        known = replace(self._state, keys={**self._state.keys, **new})
        return replace(known, tokens={**known.tokens, **self._peers(known).token_keys(new)})

    def _masked_again(self, request: bytes, words: Words) -> bytes:
        kept = self._kept(Stage.MASK, request)
        answer = self._mask_answer(self._state, words)
        if _hash(answer) != kept:
            raise RefusedError(
                f"Client {self.client} has masked another input in this round already. Send that one, or drop out."
            )
        return answer

    def _mask_answer(self, state: ClientState, words: Words) -> bytes:
        session, bits, peers = self.terms.session, self.terms.bits, self._peers(state)
        total = words.copy()
        add_mask(total, key=self_mask_key(state.seed, session=session, client=self.client), bits=bits)
        for other in state.neighbours:
            (add_mask if self.client < other else subtract_mask)(total, key=peers.pair_key(other), bits=bits)
        included = {other: peers.tell(other, "included") for other in state.present}
        return packed(MaskAnswer(included=included, words=(packed_words(total, bits=bits),)), self._address)

    def _acknowledge(self, request: bytes) -> _Done:
        found, state = self._read(AckRequest, request, stage=Stage.ACKNOWLEDGE), self._state
        survivors = frozenset(found.survivors)
        if sorted((*found.survivors, *found.dropped)) != state.neighbours:
            raise ProtocolError(
                f"A neighbour of client {self.client} is said to have survived and dropped, or neither, or is none. "
                "Stay out of this round: the server or its programs are at fault."
            )
        self._require_enough(survivors.intersection(state.present))
        owners = survivors.intersection(state.drawn_by)
        if not found.included.keys() <= owners:
            raise ProtocolError(f"Client {self.client} is told the inclusion of a stranger. Refuse the request.")
        peers = self._peers(state)
        vouched = tuple(peers.heard(found.included, "included"))
        answer = AckAnswer(survived={other: peers.tell(other, "survived") for other in owners})
        return packed(answer, self._address), replace(state, survivors=found.survivors, vouched=vouched)

    def _reveal(self, request: bytes) -> _Done:
        found, state = self._read(RevealRequest, request, stage=Stage.REVEAL), self._state
        survivors = frozenset(state.survivors)
        self._require_some_of(survivors.intersection(state.present), given=found.survived)
        self._require_enough(self._peers(state).heard(found.survived, "survived"))
        seeds = {other: state.held[other][SHARE_BYTES:] for other in state.vouched if other in state.held}
        masks = {other: shares[:SHARE_BYTES] for other, shares in state.held.items() if other not in survivors}
        return packed(RevealAnswer(seed_shares=seeds, mask_shares=masks), self._address), state.forgotten()

    def _peers(self, state: ClientState) -> Peers:
        return Peers(
            self.terms.session,
            client=self.client,
            roster=state.bound_roster,
            mask=self._mask,
            cipher=self._cipher,
            keys=state.keys,
            tokens=state.tokens,
            about=state.about,
        )

    def _read(self, kind: type[M], request: bytes, *, stage: Stage) -> M:
        if len(self._state.answers) != stage:
            raise ProtocolError(f"Client {self.client} is asked for {stage.name.lower()} before its turn. Refuse it.")
        return unpacked(kind, request, self._address)

    def _require_some_of(self, those: Collection[int], *, given: Collection[int]) -> None:
        """Raise ProtocolError if others are given, RefusedError if too few to go on with."""
        if not set(given) <= set(those):
            raise ProtocolError(f"Client {self.client} is told of neighbours that it has not. Refuse the request.")
        self._require_enough(given)

    def _require_enough(self, neighbours: Collection[int]) -> None:
        threshold = self.terms.parameters.threshold
        if len(neighbours) < threshold:
            raise RefusedError(
                f"{len(neighbours)} of the neighbours that client {self.client} drew are left, {threshold} are needed. "
                "Stay out of this round."
            )

    def _require_words(self, words: Words) -> None:
        kind, size, bits = word_type(self.terms.bits), self.terms.size, self.terms.bits
        if words.dtype != kind or words.shape != (size,) or int(words.max()) >> bits:
            raise ValueError(f"An input is one row of {size} words of type {kind.name}, each below 2^{bits}.")


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
