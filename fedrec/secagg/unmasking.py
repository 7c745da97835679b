"""How the server takes the masks off a sum when all that it needs was revealed."""

from dataclasses import dataclass

from fedrec.secagg.answers import Answers
from fedrec.secagg.keys import KeyPair, commitment
from fedrec.secagg.masks import Words, add_mask, pair_mask_key, self_mask_key, subtract_mask
from fedrec.secagg.messages import RevealAnswer
from fedrec.secagg.recovery import Recovery
from fedrec.secagg.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureSum:
    """words: the sum of the survivors' inputs modulo 2^bits. liars: clients whose shares did not fit others'."""

    words: Words
    survivors: tuple[int, ...]
    liars: tuple[int, ...]


def unmasked(masked: Words, *, answers: Answers, terms: Terms) -> SecureSum:
    """The sum without its masks, exactly; ProtocolError if a secret that it takes cannot be put together.

    masked: the sum of the survivors' masked inputs; it is left as it was.
    """
    recovery = Recovery(roster=answers.roster, threshold=terms.parameters.threshold)
    # First all secrets, then the masks: a round that is refused costs no masks.
    seeds = {client: _seed(client, answers=answers, terms=terms, recovery=recovery) for client in answers.survivors}
    pairs = {client: _mask_pair(client, answers=answers, recovery=recovery) for client in answers.dropped}
    words = masked.copy()
    for client, seed in seeds.items():
        subtract_mask(words, key=self_mask_key(seed, session=terms.session, client=client), bits=terms.bits)
    for client, pair in pairs.items():
        _take_off(words, client, pair, answers=answers, terms=terms)
    return SecureSum(words=words, survivors=tuple(seeds), liars=tuple(sorted(recovery.liars)))


def _seed(client: int, *, answers: Answers, terms: Terms, recovery: Recovery) -> bytes:
    """The self-mask seed of a survivor."""
    committed = answers.shares[client].commitment
    holders = {holder: reveal.seed_shares for holder, reveal in _reveals(client, answers).items()}
    return recovery.secret(
        {holder: shares[client] for holder, shares in holders.items() if client in shares},
        owner=client,
        fits=lambda seed: commitment(seed, session=terms.session, client=client) == committed,
    )


def _mask_pair(client: int, *, answers: Answers, recovery: Recovery) -> KeyPair:
    """The mask key pair of a client that dropped out."""
    advertised = answers.adverts[client].mask_key
    holders = {holder: reveal.mask_shares for holder, reveal in _reveals(client, answers).items()}
    private = recovery.secret(
        {holder: shares[client] for holder, shares in holders.items() if client in shares},
        owner=client,
        fits=lambda private: KeyPair.from_bytes(private).public == advertised,
    )
    return KeyPair.from_bytes(private)


def _reveals(client: int, answers: Answers) -> dict[int, RevealAnswer]:
    """What the clients that hold shares of this one revealed."""
    return {holder: answers.reveals[holder] for holder in answers.present(client) if holder in answers.reveals}


def _take_off(words: Words, client: int, pair: KeyPair, *, answers: Answers, terms: Terms) -> None:
    """Undo what the survivors among its neighbours did with the masks that they shared with a dropped client."""
    roster = answers.roster.hash(terms.session)
    for other in answers.neighbours(client):
        if other not in answers.included:
            continue
        theirs = answers.adverts[other].mask_key
        key = pair_mask_key(pair, other=theirs, session=terms.session, roster=roster, pair=(client, other))
        (subtract_mask if other < client else add_mask)(words, key=key, bits=terms.bits)
