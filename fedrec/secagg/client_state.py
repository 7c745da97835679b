"""What a client knows of a sum between two stages."""

import secrets
from dataclasses import dataclass, field
from typing import Annotated, Self

from fedrec.secagg.keys import KEY_BYTES, KeyPair
from fedrec.secagg.messages import HASH_BYTES, Hash, Key
from fedrec.secagg.roster import Roster
from fedrec.secagg.shares import SHARE_BYTES
from fedrec.secagg.wire import Blobs, Numbers, Table, rows

Keys = Annotated[Table, rows(2 * KEY_BYTES)]
Tokens = Annotated[Table, rows(KEY_BYTES)]
Held = Annotated[Table, rows(2 * SHARE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ClientState:
    """Written and read like a message. Most of it is secret: whoever keeps it encrypts it. Printing shows nothing.

    answers: of each stage that was answered, the request's hash and then the answer; of a masked input its hash.
    identities: of the roster's clients, as a roster binds them, from the first stage on.
    keys: the mask key and the cipher key of each neighbour. tokens: the key of the tokens between each and the client.
    drawn: the neighbours that the client drew; asked: those whose keys came; present: those that shared their secrets,
    too. about: what the input was made from, once it is masked, as a hash. drawn_by: the neighbours that drew the
    client; held: their two shares, as far as they opened; vouched: those that showed that they masked with the client.
    survivors: the neighbours that the client takes for such.
    """

    terms: Hash
    mask_private: Key
    cipher_private: Key
    seed: Key
    answers: Blobs = ()
    roster: Numbers = ()
    identities: Hash = bytes(HASH_BYTES)
    drawn: Numbers = ()
    keys: Keys = field(default_factory=dict)
    tokens: Tokens = field(default_factory=dict)
    asked: Numbers = ()
    about: Hash = bytes(HASH_BYTES)
    present: Numbers = ()
    drawn_by: Numbers = ()
    held: Held = field(default_factory=dict)
    survivors: Numbers = ()
    vouched: Numbers = ()

    @classmethod
    def fresh(cls, terms: bytes) -> Self:
        """A state with new secrets, before the first stage."""
        mask, cipher = KeyPair.fresh().private, KeyPair.fresh().private
        return cls(terms=terms, mask_private=mask, cipher_private=cipher, seed=secrets.token_bytes(KEY_BYTES))

    def forgotten(self) -> Self:
        """What is left after the last answer: it can be given again, and no masked input can be laid open with it."""
        none = bytes(KEY_BYTES)
        return type(self)(
            terms=self.terms,
            mask_private=none,
            cipher_private=none,
            seed=none,
            answers=self.answers,
            roster=self.roster,
            identities=self.identities,
        )

    @property
    def bound_roster(self) -> Roster:
        """Who was asked, bound to the identity keys that they had then."""
        return Roster(self.roster, self.identities)

    @property
    def neighbours(self) -> list[int]:
        """Those that the client masks with, ascending: drawn by it and still there, or drawing it."""
        return sorted({*self.present, *self.drawn_by})

    @property
    def is_sound(self) -> bool:
        """Whether its parts can belong to one client."""
        wholes = (
            (self.drawn, self.roster),
            (self.asked, self.drawn),
            (self.present, self.asked),
            (self.tokens, self.keys),
            (self.keys, self.tokens),
            (self.asked, self.keys),
            (self.drawn_by, self.keys),
            (self.keys, self.roster),
            (self.held, self.drawn_by),
            (self.vouched, self.drawn_by),
            (self.survivors, self.neighbours),
        )
        answers = all(len(answer) >= HASH_BYTES for answer in self.answers)
        return answers and all(set(part) <= set(whole) for part, whole in wholes)
