"""A client's side of a round under masks: check, pay, train, noise, mask, keep, answer.

What a client says at a stage is on its disk before it is sent, so that one that restarts between two stages goes on
with the same keys, the same noise and the same words. A session's words are drawn once, and paid for before that, but
after the request for them was found sound: what a server sends wrongly spends nothing. The payment is on the disk
before they are drawn and is never made twice, so a client that lost them, to a power cut or to an older copy of its
session, draws no others: it drops out of that sum. Of two processes that answer at once one is heard: the other finds
that what it went out from is there no more.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import FedrecError, RefusedError
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.secagg.client import SecureClient
from fedrec.secagg.masks import Words
from fedrec.secagg.planned import require_recomputed
from fedrec.secagg.skellam import skellam
from fedrec.secagg.terms import Stage
from fedrec.training.client import Client, Instruction
from fedrec.training.masking import MaskedReply, Masking, masking_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Kept:
    """What a client has of a session between two stages. words: what it sums; None before it trained."""

    state: bytes
    words: Words | None = None
    attempts: int = 0

    def pack(self) -> bytes:
        """Its form on the disk: secret, as it holds keys, and words whose noise is the client's share alone."""
        kind = "" if self.words is None else self.words.dtype.str
        head = {"state": len(self.state), "words": kind, "attempts": self.attempts}
        body = b"" if self.words is None else self.words.tobytes()
        return json.dumps(head).encode() + b"\n" + self.state + body

    @classmethod
    def unpack(cls, content: bytes) -> "Kept":
        """Read it back."""
        line, _, body = content.partition(b"\n")
        head = json.loads(line)
        state, words = body[: head["state"]], body[head["state"] :]
        vector = np.frombuffer(words, dtype=head["words"]) if head["words"] else None
        return cls(state=state, words=vector, attempts=head["attempts"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A client, and what it takes part in sums with.

    number: by which its server knows it. directory: the raw identity key of each enrolled client. How the sum is made
    follows from the client's own plan, and never from what a server says.
    """

    client: Client
    number: int
    identity: Ed25519PrivateKey
    directory: Mapping[int, bytes]

    def answer(self, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        """The answer to a stage's request; it is on the disk on return.

        Raises RefusedError, BudgetError, LayoutError or ProtocolError where it does not go on, and has spent nothing
        that its server does not know of; a fault after it paid is a reply without an answer.
        """
        found = self.client.records.session(instruction.token)
        kept = self._kept(instruction, stage, found)
        secure = self._secure(instruction, kept)
        if stage is Stage.MASK:
            return self._masked(secure, kept, instruction, request, before=found)
        stages = {
            Stage.ADVERTISE: secure.advertise,
            Stage.SHARE: secure.share,
            Stage.ACKNOWLEDGE: secure.acknowledge,
            Stage.REVEAL: secure.reveal,
        }
        answer = stages[stage](request)
        # The words have gone out when their server asks on: they are forgotten, as the keys are after the last answer.
        words = kept.words if stage < Stage.MASK else None
        self._keep(instruction, replace(kept, state=secure.pack(), words=words), before=found)
        return MaskedReply(client=self.number, answer=answer)

    def _masked(
        self, secure: SecureClient, kept: Kept, instruction: Instruction, request: bytes, *, before: bytes | None
    ) -> MaskedReply:
        try:
            if kept.words is None and secure.stage in (Stage.REVEAL, None):
                raise RefusedError(
                    "This client's words of this round have gone out and are forgotten. Ask for the next."
                )
            secure.require_maskable(request)
            words, attempts = self.words(instruction) if kept.words is None else (kept.words, kept.attempts)
            answer = secure.masked(request, words, about=_trained_from(instruction))
            self._keep(instruction, Kept(state=secure.pack(), words=words, attempts=attempts), before=before)
        except FedrecError as error:
            # What was paid for is told even when nothing comes of it, so that the server charges it too.
            if attempts := self.client.attempts(instruction.token):
                return MaskedReply(client=self.number, code=error.code, attempts=attempts)
            raise
        return MaskedReply(client=self.number, answer=answer, attempts=attempts)

    def words(self, instruction: Instruction) -> tuple[Words, int]:
        """What the client adds to the sum, with its share of the noise, and how often it was paid for."""
        client, source, masking = self.client, self.client.source_for(instruction.round), self._masking()
        client.require_sound(instruction)
        attempts = client.pay(instruction, guarantee=source.guarantee)
        return encoded(masking, client.contribution(instruction, source), source=source), attempts

    def _masking(self) -> Masking:
        masking = masking_of(self.client.plan, lambda: self.directory)
        if masking is None:
            raise RefusedError("The server asks for a sum under masks, which is not in the plan. Ask the operator.")
        return masking

    def _kept(self, instruction: Instruction, stage: Stage, found: bytes | None) -> Kept:
        """What it has of this session; nothing before the first stage."""
        if found is not None:
            return Kept.unpack(found)
        if stage is not Stage.ADVERTISE:
            raise RefusedError("This client has nothing of this round's earlier stages. It stays out of this round.")
        self._require_new(instruction)
        return Kept(state=b"")

    def _require_new(self, instruction: Instruction) -> None:
        """Return only for a round that the client would pay for, has not paid for, and whose plan is what it says."""
        self.client.require_willing(instruction)
        if self.client.plan is not None:
            require_recomputed(self.client.plan)
            _require_fitting(self.client.plan, size=self.client.learner.layout.size)
        if self.client.attempts(instruction.token):
            raise RefusedError("This client masked an input in this round and has lost it. It stays out of this round.")

    def _secure(self, instruction: Instruction, kept: Kept) -> SecureClient:
        terms = self._masking().terms(instruction, size=self.client.learner.layout.size)
        if not kept.state:
            return SecureClient(terms, client=self.number, identity=self.identity, directory=self.directory)
        return SecureClient.unpack(
            kept.state, terms=terms, client=self.number, identity=self.identity, directory=self.directory
        )

    def _keep(self, instruction: Instruction, kept: Kept, *, before: bytes | None) -> None:
        self.client.records.keep_session(instruction.token, kept.pack(), before=before)


def _require_fitting(plan: PrivacyPlan, *, size: int) -> None:
    """Raise RefusedError where an update has more numbers than the grid and the noise of its sum are made for."""
    if plan.secure_sum is not None and size > plan.secure_sum.size:
        raise RefusedError(
            f"An update of {size} numbers is to be summed under a plan for {plan.secure_sum.size} at most. This client "
            "stays out; the operator raises secure_aggregation.size."
        )


def _trained_from(instruction: Instruction) -> bytes:
    """What a server gives everybody in a round to train from: those that were given something else do not add up."""
    prior = b"" if instruction.prior is None else instruction.prior.astype("<f4").tobytes()
    head = f"{instruction.task} {instruction.negatives_seed} {len(prior)}\n".encode()
    return head + prior + instruction.adapter.astype("<f4").tobytes()


def encoded(masking: Masking, vector: FlatAdapter, *, source: RandomSource) -> Words:
    """A contribution on the grid, with its client's share of the noise."""
    values = masking.ring.encode(vector, source=source)
    values += skellam(masking.variance).sample(len(values), source=source)
    return masking.ring.to_words(values)
