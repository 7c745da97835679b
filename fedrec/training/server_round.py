"""The server's side of one round: ask, pay, and only then noise and use what came.

In `local` mode replies arrive noised; in `central` mode their bounded sum is noised here.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedrec.config import FederationConfig
from fedrec.data.sequences import Floats
from fedrec.errors import VerificationError
from fedrec.privacy.budget import Budget
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.mechanism import Doubles, noised_sum
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import NoiseKind, noise_source
from fedrec.training.aggregation import ServerState, UpdateSum
from fedrec.training.blocks import Block, Task, blocks_of
from fedrec.training.client import Instruction
from fedrec.training.collecting import Collected, Engine, ask, draw_cohort, draw_seed, eligible, within_budget
from fedrec.training.contribution import released_metrics, released_prior
from fedrec.training.payment import complete, paid, pay
from fedrec.training.robust import draw_groups
from fedrec.training.run_folder import RunFolder
from fedrec.training.server_noise import ServerNoise

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the server holds constant over a run.

    run_id: tells this run's rounds from any other's. noise: `system` is secret. catalogue:
    the number of items, N. prior_weight: of a released popularity in every score. budget:
    asked for every client before it is drawn, as interruptions cost more than was planned.
    """

    federation: FederationConfig
    plan: PrivacyPlan | None
    layout: str
    run_id: str
    seed: int
    noise: NoiseKind
    catalogue: int
    prior_weight: float = 1.0
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """What may be used of a round: paid for, and noised. mean: (P,), None in a dropped round."""

    asked: int
    replies: int
    failures: Counter[str]
    mean: Doubles | None
    metrics: Metrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundServer:
    """One run's server between its ledger and its clients."""

    folder: RunFolder
    engine: Engine
    recipe: Recipe
    ledger: Ledger

    def round(self, state: ServerState, prior: Floats | None) -> RoundResult:
        """Ask for the round after `state`, pay for it, and return what may be used of it."""
        plan = self.recipe.plan
        if plan is not None and plan.mode == "central":
            return self._noised_round(plan, state, prior)
        collected = self._ask(state, prior, blocks=[])
        dropped = self._dropped(collected)
        if plan is not None:
            self._pay(plan, collected, blocks_of(plan, "update", size=len(state.adapter)))
        return _result(collected, None if dropped else collected.total.mean(expected=self._expected(collected)))

    def prior(self, state: ServerState) -> Floats | None:
        """(N,) weighted popularity as released before the first round; None where the plan releases none.

        A release that was paid for and then lost is not asked for again, as no client gives
        a second one: the prior is then zero. Raises VerificationError if it was lost later.
        """
        plan = self.recipe.plan
        if plan is None or plan.popularity is None:
            return None
        kept = self.folder.prior()
        if kept is None and state.round:
            raise VerificationError(f"{self.folder.path} lacks the popularity that it released. Restore it.")
        if kept is None:
            kept = self._release_prior(plan, state, items=plan.popularity.items)
            self.folder.keep_prior(kept)
        return kept

    def _release_prior(self, plan: PrivacyPlan, state: ServerState, *, items: int) -> Floats:
        size = self.recipe.catalogue
        (block,) = blocks_of(plan, "popularity", size=size)
        noised = np.zeros(size)
        if not any(entry["kind"] == "popularity" for entry in self.ledger.entries):
            instruction = self._instruction(state, 0, self._token(0), task="popularity")
            everybody = list(self.engine.clients())
            collected = self._collect(instruction, everybody, UpdateSum(size, blocks=[block]))
            self._pay(plan, collected, [block])
            if not self._dropped(collected):
                source = noise_source(self.recipe.noise, self.recipe.seed, "server", "popularity")
                noised = noised_sum(collected.total.value, noise_std=block.noise_std, source=source)
        prior = released_prior(noised, items=items, noise_std=block.noise_std)
        return (self.recipe.prior_weight * prior).astype(np.float32)

    def _noised_round(self, plan: PrivacyPlan, state: ServerState, prior: Floats | None) -> RoundResult:
        blocks = blocks_of(plan, "update", size=len(state.adapter))
        noise = self._noise(plan, blocks)
        kept = noise.kept(finished=state.round, recorded=bool(self.folder.rounds()))
        if kept.state.round > state.round:
            return self._kept_result(kept.noised_sum, state.round + 1, blocks)
        collected = self._ask(state, prior, blocks=blocks)
        self._pay(plan, collected, blocks)
        if self._dropped(collected):
            noise.drop(kept.state)
            return _result(collected, None)
        noised = noise.release(collected.total.value, kept.state, expected=self._expected(collected))
        return _result(collected, noised[: blocks[0].size], _metrics(noised, blocks))

    def _kept_result(self, noised: Doubles | None, number: int, blocks: Sequence[Block]) -> RoundResult:
        """A round that was noised before an interruption, released as it was."""
        entries = [entry for entry in self.ledger.entries if entry["kind"] == "update" and entry["round"] == number]
        if not entries:
            raise VerificationError(f"{self.folder.ledger} lacks what round {number} paid. Restore it from a copy.")
        return RoundResult(
            asked=len(entries[-1]["participants"]),
            replies=len(entries[-1]["replies"]),
            failures=Counter(),
            mean=None if noised is None else noised[: blocks[0].size],
            metrics=None if noised is None else _metrics(noised, blocks),
        )

    def _noise(self, plan: PrivacyPlan, blocks: Sequence[Block]) -> ServerNoise:
        return ServerNoise(
            blocks=blocks,
            bands=plan.bands,
            file=self.folder.noise,
            key=self.folder.noise_key,
            run_id=self.recipe.run_id,
            source_of=lambda number, kind: noise_source(self.recipe.noise, self.recipe.seed, "server", number, kind),
        )

    def _ask(self, state: ServerState, prior: Floats | None, *, blocks: Sequence[Block]) -> Collected:
        number = state.round + 1
        pending = self._begun(number, blocks)
        instruction = self._instruction(state, number, pending["token"], prior=prior)
        federation = self.recipe.federation
        seed = draw_seed(self.recipe.seed, "groups", number)
        groups = draw_groups(pending["cohort"], count=federation.groups, seed=seed)
        total = UpdateSum(len(state.adapter), blocks=blocks, norm_bound=federation.norm_bound, groups=groups)
        return self._collect(instruction, pending["cohort"], total)

    def _begun(self, number: int, blocks: Sequence[Block]) -> dict[str, Any]:
        """Token and cohort of the round under way; a new attempt where the last one was paid for and lost."""
        plan, federation = self.recipe.plan, self.recipe.federation
        pending = self.folder.pending(number)
        lost = pending and plan and plan.mode == "central" and paid(self.ledger, pending["token"])
        if pending and not lost:
            return pending
        if pending and plan:
            complete(self.ledger, plan, pending["token"], blocks)
        able = self._able(number, blocks)
        if pending:
            allowed = set(able)
            cohort = [client for client in pending["cohort"] if client in allowed]
        else:
            cohort = draw_cohort(able, size=federation.cohort, seed=self.recipe.seed, labels=("cohort", number))
        pending = {"round": number, "token": self._token(number), "cohort": cohort}
        self.folder.begin(pending)
        return pending

    def _able(self, number: int, blocks: Sequence[Block]) -> list[int]:
        """The clients that cap, separation and the lifetime budget leave."""
        plan, budget, entries = self.recipe.plan, self.recipe.budget, self.ledger.entries
        able = eligible(self.engine.clients(), plan, entries, round_number=number)
        if plan is None or budget is None or budget.epsilon is None:
            return able
        more = [block.spend for block in blocks or blocks_of(plan, "update", size=0)]
        return within_budget(able, entries, more, budget)

    def _instruction(
        self, state: ServerState, number: int, token: str, *, task: Task = "update", prior: Floats | None = None
    ) -> Instruction:
        return Instruction(
            run=self.recipe.run_id,
            round=number,
            token=token,
            adapter=state.adapter,
            layout=self.recipe.layout,
            plan=self.recipe.plan,
            negatives_seed=draw_seed(self.recipe.seed, "negatives", number),
            task=task,
            prior=prior,
        )

    def _collect(self, instruction: Instruction, cohort: Sequence[int], total: UpdateSum) -> Collected:
        return ask(self.engine, instruction, cohort, total=total, timeout=self.recipe.federation.timeout)

    def _pay(self, plan: PrivacyPlan, collected: Collected, blocks: Sequence[Block]) -> None:
        secret = self.recipe.noise == "system"
        pay(self.ledger, plan, collected, blocks, guarantee=secret, dropped=self._dropped(collected))

    def _dropped(self, collected: Collected) -> bool:
        """Whether too few replied; a median of means needs somebody in every group."""
        return collected.total.count < self.recipe.federation.min_replies or collected.total.empty_groups > 0

    def _expected(self, collected: Collected) -> int:
        """The expected cohort: who was asked is public, who replied does not enter."""
        return min(self.recipe.federation.cohort, max(len(collected.cohort), 1))

    def _token(self, number: int) -> str:
        """Names an attempt at a round.

        In `central` mode it is new for every attempt: a client takes it for a participation of
        its own, so that a server that was set back cannot have one update noised twice for one
        charge. In `local` mode it is the round's, whose reply carries its noise with it.
        """
        if self.recipe.plan is not None and self.recipe.plan.mode == "central":
            return secrets.token_hex(16)
        text = f"{self.recipe.run_id}|{self.recipe.layout}|{number}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _result(collected: Collected, mean: Doubles | None, metrics: Metrics | None = None) -> RoundResult:
    return RoundResult(
        asked=len(collected.cohort),
        replies=collected.total.count,
        failures=collected.failures,
        mean=mean,
        metrics=metrics,
    )


def _metrics(noised: Doubles, blocks: Sequence[Block]) -> Metrics | None:
    """The released metrics behind the noised update; None where the plan releases none."""
    if len(blocks) < 2:
        return None
    return released_metrics(noised[blocks[0].size :], noise_std=blocks[1].noise_std)
