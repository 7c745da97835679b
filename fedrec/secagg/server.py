"""The server's side of a sum: whom to ask what at a stage, which answers count, and when there are too few.

It keeps one running sum and, of each client, keys and shares: the vectors' length times the cohort is never in memory.
What it refuses from a client changes nothing and is counted. Clients that are not heard of when a stage is closed have
dropped out. Clients protect themselves (see `client`); what is checked here keeps one wrong client from costing the
others their round, and the operator from a wrong sum.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from fedrec.errors import ProtocolError, RefusedError
from fedrec.secagg.answers import Answers
from fedrec.secagg.keys import verify_advert
from fedrec.secagg.masks import Words, word_type
from fedrec.secagg.messages import (
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
    advert_of,
)
from fedrec.secagg.roster import Roster
from fedrec.secagg.shares import share_value
from fedrec.secagg.terms import Stage, Terms
from fedrec.secagg.unmasking import SecureSum, unmasked
from fedrec.secagg.wire import Address, packed, unpacked
from fedrec.secagg.words import unpacked_words


class SecureServer:
    """One sum. For each stage: send `requests()`, `accept` each answer as it comes, then `close`; at the end `result`.

    directory: the identity key of each enrolled client, raw. refused: answers that did not count, by the client that
    the transport says they came from.
    """

    def __init__(self, terms: Terms, *, roster: Roster, directory: Mapping[int, bytes]) -> None:
        if len(roster.clients) != terms.parameters.clients:
            raise RefusedError(
                f"The roster has {len(roster.clients)} clients, the parameters are for {terms.parameters.clients}."
            )
        self.terms = terms
        self.refused: Counter[int] = Counter()
        self._directory = directory
        self._answers = Answers(roster=roster.under(directory))
        self._keys: set[bytes] = set()
        self._sum: Words = np.zeros(terms.size, dtype=word_type(terms.bits))
        self._stage: Stage | None = Stage.ADVERTISE
        self._accepts = (
            self._accept_advert,
            self._accept_shares,
            self._accept_masked,
            self._accept_acks,
            self._accept_reveal,
        )
        self._requests = (
            self._roster_request,
            self._share_request,
            self._mask_request,
            self._ack_request,
            self._reveal_request,
        )

    @property
    def stage(self) -> Stage | None:
        """The stage that is open; None after the last, or when the round was refused."""
        return self._stage

    @property
    def survivors(self) -> list[int]:
        """The clients whose masked input is in the sum."""
        return self._answers.survivors

    def requests(self) -> dict[int, bytes]:
        """What to send to each client that is still there."""
        stage = self._open()
        return {
            client: packed(self._requests[stage](client), self._address(client))
            for client in self._answers.asked_at(stage)
        }

    def accept(self, client: int, answer: bytes) -> None:
        """Take a client's answer to the open stage; ProtocolError if it does not count.

        client: from whom it came, by the transport.
        """
        stage = self._open()
        try:
            if client not in self._answers.asked_at(stage):
                raise ProtocolError(
                    f"Client {client} was not asked for {stage.name.lower()}. Its answer does not count."
                )
            if client in self._answers.heard_at(stage):
                raise ProtocolError(f"Client {client} answers {stage.name.lower()} twice. The second does not count.")
            self._accepts[stage](client, answer)
        except ProtocolError:
            self.refused[client] += 1
            raise

    def close(self) -> None:
        """Go on with those that answered the open stage; RefusedError, for good, if they are too few."""
        stage = self._open()
        heard, least = len(self._answers.heard_at(stage)), self.terms.parameters.least_survivors
        self._stage = None
        if stage is Stage.REVEAL:
            self._require_revealed()
            return
        if heard < least:
            raise RefusedError(
                f"{heard} clients answered {stage.name.lower()}, the round needs {least}. It is refused, and nothing "
                "is revealed; ask a larger cohort, or raise secure_aggregation.drop_out."
            )
        if stage is Stage.SHARE:
            self._answers.draw()
        self._stage = Stage(stage + 1)

    def result(self) -> SecureSum:
        """The sum of the survivors' inputs; ProtocolError if what was revealed does not give it.

        Call it after the last stage was closed.
        """
        if self._stage is not None or not self._answers.reveals:
            raise RefusedError("The sum is still masked: its stages are not all closed, or the round was refused.")
        return unmasked(self._sum, answers=self._answers, terms=self.terms)

    def _require_revealed(self) -> None:
        """Raise RefusedError where fewer of some client's neighbours came back than give a secret."""
        answers, threshold = self._answers, self.terms.parameters.threshold
        held = [answers.present(client) for client in (*answers.survivors, *answers.dropped)]
        least = min((sum(other in answers.reveals for other in holders) for holders in held), default=0)
        if least < threshold:
            raise RefusedError(
                f"{len(answers.reveals)} clients answered reveal, {least} of them neighbours of some client, and a "
                f"secret takes {threshold}. The round is refused, its sum is not known; ask a larger cohort, or raise "
                "secure_aggregation.drop_out."
            )

    def _open(self) -> Stage:
        if self._stage is None:
            raise RefusedError("The round's stages are all closed, or it was refused. Start another.")
        return self._stage

    def _address(self, client: int) -> Address:
        return Address(session=self.terms.session.id, client=client)

    def _roster_request(self, _: int) -> RosterRequest:
        return RosterRequest(clients=self._answers.roster.clients)

    def _share_request(self, client: int) -> ShareRequest:
        return ShareRequest(adverts=self._adverts(self._answers.advertised(client)))

    def _mask_request(self, client: int) -> MaskRequest:
        answers = self._answers
        drawn_by, known = answers.drawn_by(client), answers.advertised(client)
        return MaskRequest(
            present=answers.present(client),
            sealed={other: answers.shares[other].sealed[client] for other in drawn_by},
            adverts=self._adverts(set(drawn_by).difference(known)),
        )

    def _ack_request(self, client: int) -> AckRequest:
        answers = self._answers
        neighbours, included = answers.neighbours(client), answers.included
        return AckRequest(
            survivors=tuple(other for other in neighbours if other in included),
            dropped=tuple(other for other in neighbours if other not in included),
            included={other: included[other][client] for other in answers.drawn_by(client) if other in included},
        )

    def _reveal_request(self, client: int) -> RevealRequest:
        acks = self._answers.acks
        return RevealRequest(
            survived={other: acks[other][client] for other in self._answers.present(client) if other in acks}
        )

    def _accept_advert(self, client: int, answer: bytes) -> None:
        found = unpacked(AdvertAnswer, answer, self._address(client))
        advert = advert_of(client, found.mask_key + found.cipher_key + found.signature)
        if client not in self._directory:
            raise ProtocolError(f"Client {client} is not enrolled. Its answer does not count.")
        verify_advert(advert, session=self.terms.session, identity_key=self._directory[client])
        self._answers.roster.require_members(found.drawn, but=client)
        if len(found.drawn) != self.terms.parameters.neighbours:
            raise ProtocolError(f"Client {client} drew {len(found.drawn)} neighbours. Its answer does not count.")
        if not self._keys.isdisjoint((found.mask_key, found.cipher_key)):
            raise ProtocolError(f"Client {client} advertises a key of another's. Its answer does not count.")
        self._keys.update((found.mask_key, found.cipher_key))
        self._answers.adverts[client] = found

    def _accept_shares(self, client: int, answer: bytes) -> None:
        found = unpacked(ShareAnswer, answer, self._address(client))
        self._require_exactly(self._answers.advertised(client), given=found.sealed, client=client)
        self._answers.shares[client] = found

    def _accept_masked(self, client: int, answer: bytes) -> None:
        found = unpacked(MaskAnswer, answer, self._address(client))
        self._require_exactly(self._answers.present(client), given=found.included, client=client)
        if len(found.words) != 1:
            raise ProtocolError(f"Client {client} sends {len(found.words)} masked inputs. They do not count.")
        self._sum += unpacked_words(found.words[0], size=self.terms.size, bits=self.terms.bits)
        self._answers.included[client] = found.included

    def _accept_acks(self, client: int, answer: bytes) -> None:
        found = unpacked(AckAnswer, answer, self._address(client))
        self._require_exactly(self._held(client, survived=True), given=found.survived, client=client)
        self._answers.acks[client] = found.survived

    def _accept_reveal(self, client: int, answer: bytes) -> None:
        found = unpacked(RevealAnswer, answer, self._address(client))
        for shares, survived in ((found.seed_shares, True), (found.mask_shares, False)):
            if not shares.keys() <= set(self._held(client, survived=survived)):
                raise ProtocolError(f"Client {client} reveals a share that is not its to reveal. It does not count.")
            for share in shares.values():
                share_value(share)
        self._answers.reveals[client] = found

    def _held(self, client: int, *, survived: bool) -> list[int]:
        """Whose shares the client holds, of those that survived or of those that dropped."""
        answers = self._answers
        return [other for other in answers.drawn_by(client) if (other in answers.included) is survived]

    def _adverts(self, clients: Collection[int]) -> dict[int, bytes]:
        adverts = self._answers.adverts
        return {
            client: adverts[client].mask_key + adverts[client].cipher_key + adverts[client].signature
            for client in clients
        }

    @staticmethod
    def _require_exactly(clients: Collection[int], *, given: Collection[int], client: int) -> None:
        if set(given) != set(clients):
            raise ProtocolError(
                f"Client {client} answers for other neighbours than it was asked for. It does not count."
            )
