"""A round under masks, as its server sees it: what it asks, what it is told, and when it pays.

The server's ledger is charged before the masks are taken off: what comes then is the release.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fedrec.errors import ConfigError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.plan import PrivacyPlan
from fedrec.secagg.keys import Session
from fedrec.secagg.masks import Words
from fedrec.secagg.parameters import Parameters
from fedrec.secagg.planned import parameters_of, ring_of
from fedrec.secagg.ring import Ring
from fedrec.secagg.terms import Terms
from fedrec.training.client import Instruction
from fedrec.training.collecting import UNSPENT_CODES, Asked, Engine

# The raw identity key of each enrolled client, as they are now.
DirectoryOf = Callable[[], Mapping[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """How the updates of a run are summed. variance: of each client's share of the noise, 0 in `local` mode."""

    parameters: Parameters
    ring: Ring
    variance: int
    directory_of: DirectoryOf

    def terms(self, instruction: Instruction, *, size: int) -> Terms:
        """What everybody in a round agrees on. size: of the flat adapter."""
        session = Session(run=instruction.run, round=instruction.round, token=instruction.token)
        return Terms(session=session, parameters=self.parameters, size=size, bits=self.ring.bits)


def masking_of(plan: PrivacyPlan | None, directory_of: DirectoryOf) -> Masking | None:
    """How a plan has updates summed; None where the server sees them."""
    if plan is None or plan.secure_sum is None:
        return None
    return Masking(
        parameters=parameters_of(plan.secure_sum),
        ring=ring_of(plan.secure_sum),
        variance=plan.share_variance,
        directory_of=directory_of,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedReply:
    """What a client answers at one stage: bytes, or a code that says why not. attempts: see `client.Reply`."""

    client: int
    answer: bytes = b""
    code: str = ""
    attempts: int = 0


@dataclass(slots=True, kw_only=True)
class Masked:
    """A round under way, and what came of it.

    total: the sum of the survivors' words; None where there is none. spent: clients that may have drawn noise.
    """

    instruction: Instruction
    cohort: Sequence[int]
    total: Words | None = None
    survivors: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    spent: set[int] = field(default_factory=set)
    interrupted: list[tuple[int, int]] = field(default_factory=list)

    def hear(self, reply: MaskedReply, *, paid: bool) -> None:
        """Note what a reply says of spending; paid: whether the stage is one that is paid for."""
        if reply.code:
            self.failures[reply.code] += 1
        if paid and reply.attempts > 1:
            self.interrupted += [(reply.client, attempt) for attempt in range(1, self._believable(reply.attempts))]
        if paid and reply.code in UNSPENT_CODES and not reply.attempts:
            self.spent.discard(reply.client)

    def asked(self) -> Asked:
        """What the ledger is charged for."""
        return Asked(
            round=self.instruction.round,
            token=self.instruction.token,
            cohort=self.cohort,
            spent=sorted(self.spent),
            interrupted=self.interrupted,
            replies={},
        )

    def _believable(self, attempts: int) -> int:
        plan = self.instruction.plan
        return min(attempts, plan.limits.cap) if plan else 0


# Called when the masked inputs are in, and before anybody is asked to take a mask off.
Pay = Callable[[Masked], None]


@runtime_checkable
class MaskingEngine(Protocol):
    """How clients are summed under masks."""

    def aggregate(
        self,
        instruction: Instruction,
        cohort: Sequence[int],
        masking: Masking,
        *,
        timeout: float,
        pay: Pay,
        lost: Collection[int] = (),
    ) -> Masked:
        """The sum of a cohort, or why there is none; `pay` returned before anything was unmasked.

        lost: of the cohort, clients of a simulation that answer nothing.
        """
        ...


def masked_sum(
    engine: Engine,
    instruction: Instruction,
    cohort: Sequence[int],
    masking: Masking,
    *,
    federation: FederationConfig,
    pay: Callable[[Masked, bool], None],
) -> Masked:
    """The sum of a cohort that is believable and paid for, or none.

    pay: told what came and whether nothing is released, before a mask comes off and at the end.
    Raises ConfigError for an engine that cannot mask.
    """
    if not isinstance(engine, MaskingEngine):
        raise ConfigError('This engine adds updates up as they are. Run rounds under masks with engine = "flower".')
    if len(cohort) != masking.parameters.clients:
        # The noise is sized for a full one.
        return Masked(instruction=instruction, cohort=cohort, failures=Counter(too_few=1))
    masked = engine.aggregate(
        instruction, cohort, masking, timeout=federation.timeout, pay=lambda so_far: pay(so_far, False)
    )
    if fault := _fault(masked, masking, federation):
        masked.total = None
        masked.failures[fault] += 1
    if masked.spent:
        pay(masked, masked.total is None)
    return masked


def _fault(masked: Masked, masking: Masking, federation: FederationConfig) -> str:
    """Why a sum is not released, as a code; nothing where it is, or where there is none."""
    if masked.total is None:
        return ""
    if masked.survivors < federation.min_replies:
        return "too_few"
    believable = masking.ring.is_plausible(masked.total, clients=masked.survivors, variance=masking.variance)
    return "" if believable else "implausible"
