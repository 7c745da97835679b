"""Who is asked in a round: drawn once, remembered before anybody is asked, and the same again after an interruption."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.privacy.budget import Budget
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import noise_source
from fedrec.privacy.spends import Spend, Spending
from fedrec.privacy.statement import composed_epsilon
from fedrec.privacy.tally import Tally
from fedrec.training.blocks import Block, blocks_of
from fedrec.training.payment import complete, paid
from fedrec.training.recipe import Recipe, draw_seed
from fedrec.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt at a round that is on the disk. token: names it. again: it was asked before an interruption."""

    round: int
    token: str
    cohort: Sequence[int]
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a round can ask its cohort now.

    connected: clients that are there; able: of them, those that may be asked. begun: whether
    it was asked before an interruption, so that it goes on with whoever is left of its cohort.
    """

    connected: int
    able: int
    needed: int
    begun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohorts:
    """Draws the cohorts of one run. connected: the clients that can be reached for a round."""

    folder: RunFolder
    recipe: Recipe
    ledger: Ledger
    connected: Callable[[int], Sequence[int] | Ints]

    def begin(self, number: int, blocks: Sequence[Block]) -> Begun:
        """The attempt at a round that is under way; a new one where the last one was paid for and lost.

        Round 0 is the release of popularity, of which everybody is asked.
        """
        plan = self.recipe.plan
        pending = self.pending(number)
        lost = pending and plan and self.recipe.asks_anew and paid(self.ledger, pending.token)
        if pending and not lost:
            return pending
        if pending and plan:
            complete(self.ledger, plan, pending.token, blocks)
        begun = Begun(round=number, token=self._token(number), cohort=self._draw(number, blocks, pending))
        self.folder.begin({name: value for name, value in asdict(begun).items() if name != "again"})
        return begun

    def readiness(self, number: int) -> Readiness:
        """Whether there are clients to ask in a round."""
        connected, cohort = self.connected(number), self.recipe.federation.cohort
        # Under masks another cohort is drawn for another attempt.
        if not self.recipe.masking and (pending := self.pending(number)):
            there = len(np.intersect1d(_numbers(connected), np.asarray(pending.cohort, dtype=np.int64)))
            return Readiness(connected=len(connected), able=there, needed=min(cohort, len(pending.cohort)), begun=True)
        # Who is able takes a look at the whole ledger: not while too few are there anyway.
        enough = number and len(connected) >= cohort
        able = len(self._able(connected, number, [])) if enough else len(connected)
        return Readiness(connected=len(connected), able=able, needed=cohort)

    def _draw(self, number: int, blocks: Sequence[Block], pending: Begun | None) -> list[int]:
        connected = self.connected(number)
        if number == 0:
            return list(_numbers(connected).tolist())
        able = self._able(connected, number, blocks)
        if pending and not self.recipe.masking:
            allowed = np.isin(np.asarray(pending.cohort, dtype=np.int64), able)
            return [client for client, may in zip(pending.cohort, allowed, strict=True) if may]
        recipe, rate = self.recipe, self.recipe.federation.sampling_rate
        if rate is not None:
            # Without noise there is no secret to keep, and a run can be had again from its seed.
            coins = noise_source(recipe.noise if recipe.plan else "seeded", recipe.seed, "server", number, "coins")
            return list(able[coins.coins(len(able), probability=rate)].tolist())
        return draw_cohort(able, size=recipe.federation.asked, seed=recipe.seed, labels=("cohort", number))

    def pending(self, number: int) -> Begun | None:
        """The attempt at a round that was on the disk before this process."""
        found = self.folder.pending(number)
        return Begun(round=number, token=found["token"], cohort=found["cohort"], again=True) if found else None

    def _able(self, connected: Sequence[int] | Ints, number: int, blocks: Sequence[Block]) -> Ints:
        """The clients that cap, separation and the lifetime budget leave."""
        plan, budget, clients = self.recipe.plan, self.recipe.budget, _numbers(connected)
        if plan is None:
            return clients
        tally = self.ledger.tally
        able = eligible(clients, plan, tally, round_number=number)
        if budget is None or budget.epsilon is None:
            return able
        more = [block.spend for block in blocks or blocks_of(plan, "update", size=0)]
        return within_budget(able, tally, more, budget)

    def _token(self, number: int) -> str:
        """Names an attempt at a round.

        In `central` mode, and under masks, it is new for every attempt: a client takes it for a
        participation of its own, so that a server that was set back cannot have one update noised
        twice for one charge. In `local` mode it is the round's, whose reply carries its noise with it.
        """
        if self.recipe.asks_anew:
            return secrets.token_hex(16)
        text = f"{self.recipe.run_id}|{self.recipe.layout}|{number}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def draw_cohort(eligible: Sequence[int] | Ints, *, size: int, seed: int, labels: Sequence[object]) -> list[int]:
    """A cohort without repetition, of `size` where so many are eligible."""
    if not len(eligible):
        return []
    generator = np.random.default_rng(draw_seed(seed, *labels))
    chosen = generator.choice(_numbers(eligible), size=min(size, len(eligible)), replace=False)
    return [int(client) for client in chosen]


def eligible(clients: Ints, plan: PrivacyPlan, tally: Tally, *, round_number: int) -> Ints:
    """The clients that cap and separation leave, by the server's own count.

    That count also catches a device that was restored from a backup and forgot what it spent.
    """
    spent = tally.taken >= plan.limits.cap
    if plan.limits.separation > 1:
        spent |= (tally.taken > 0) & (round_number - tally.last < plan.limits.separation)
    return _without(clients, tally.ids[spent])


def within_budget(clients: Ints, tally: Tally, more: Sequence[Spend], budget: Budget) -> Ints:
    """The clients whose lifetime budget has room for `more`, by the server's own count."""

    def fits(spending: Spending) -> bool:
        spends = [spend for spend, count in spending for _ in range(count)]
        return budget.room_for([*spends, *more], epsilon_of=composed_epsilon)

    if not fits(()):
        return clients[:0]
    spendings, which = tally.spendings()
    full = np.array([not fits(spending) for spending in spendings], dtype=np.bool_)
    return _without(clients, tally.ids[full[which]])


def _without(clients: Ints, barred: Ints) -> Ints:
    """The clients that are none of `barred`, in their order."""
    return clients[np.isin(clients, barred, invert=True)] if len(barred) else clients


def _numbers(clients: Sequence[int] | Ints) -> Ints:
    """Clients as an array; of a range without a look at each."""
    if isinstance(clients, range):
        return np.arange(clients.start, clients.stop, clients.step, dtype=np.int64)
    return np.asarray(clients, dtype=np.int64)
