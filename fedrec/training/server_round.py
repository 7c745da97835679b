"""The server's side of one round: ask, pay, and only then noise and use what came.

In `local` mode replies arrive noised; in `central` mode their bounded sum is noised here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedrec.data.sequences import Floats
from fedrec.errors import VerificationError
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.mechanism import Doubles, noised_sum
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import noise_source
from fedrec.training.aggregation import ServerState, UpdateSum
from fedrec.training.blocks import Block, Task, blocks_of
from fedrec.training.client import Instruction
from fedrec.training.collecting import Collected, Engine, Until, ask
from fedrec.training.contribution import released_metrics, released_prior
from fedrec.training.drawing import Begun, Cohorts
from fedrec.training.masking import Masking, masked_sum
from fedrec.training.payment import pay, settle
from fedrec.training.recipe import Recipe, draw_seed
from fedrec.training.robust import draw_groups
from fedrec.training.run_folder import KeptMean, RunFolder
from fedrec.training.server_noise import ServerNoise
from fedrec.training.stages import stage

Metrics = dict[str, dict[str, float]]


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

    @property
    def cohorts(self) -> Cohorts:
        """Who is asked."""
        return Cohorts(folder=self.folder, recipe=self.recipe, ledger=self.ledger, connected=self.engine.clients)

    def settle(self, state: ServerState) -> None:
        """Whoever was asked for the round after `state` when it was cut off is charged, whether or not it goes on.

        In `local` mode each reply that came is a release to this server, and under masks each client has drawn
        its noise. In `central` mode nothing was drawn yet: an attempt is charged before its noise.
        """
        plan, begun = self.recipe.plan, self.cohorts.pending(state.round + 1)
        if plan is not None and plan.mode != "central" and begun is not None:
            settle(
                self.ledger,
                plan,
                blocks_of(plan, "update", size=len(state.adapter)),
                number=begun.round,
                token=begun.token,
                cohort=begun.cohort,
                guarantee=self.recipe.noise == "system",
            )

    def round(self, state: ServerState, prior: Floats | None) -> RoundResult:
        """Ask for the round after `state`, pay for it, and return what may be used of it."""
        plan = self.recipe.plan
        if plan is not None and plan.mode == "central":
            return self._noised_round(plan, state, prior)
        if kept := self.folder.kept_mean(state.round + 1):
            return RoundResult(asked=kept.asked, replies=kept.replies, failures=Counter(), mean=kept.mean)
        if plan is not None and self.recipe.masking is not None:
            return self._masked_round(plan, self.recipe.masking, state, prior)
        collected = self._ask(state, prior, blocks=[])
        if plan is not None:
            self._pay(plan, collected, blocks_of(plan, "update", size=len(state.adapter)))
        if self._dropped(collected):
            return _result(collected, None)
        mean = collected.total.mean(expected=self._expected(collected))
        kept = KeptMean(asked=len(collected.cohort), replies=collected.total.count, mean=mean)
        self.folder.keep_mean(state.round + 1, kept)
        return _result(collected, mean)

    def _masked_round(
        self, plan: PrivacyPlan, masking: Masking, state: ServerState, prior: Floats | None
    ) -> RoundResult:
        blocks = blocks_of(plan, "update", size=len(state.adapter))
        with stage("draw"):
            begun = self.cohorts.begin(state.round + 1, blocks)
        masked = masked_sum(
            self.engine,
            self._instruction(state, begun, prior=prior),
            begun.cohort,
            masking,
            federation=self.recipe.federation,
            pay=lambda so_far, dropped: pay(
                self.ledger, plan, so_far.asked(), blocks, guarantee=self.recipe.noise == "system", dropped=dropped
            ),
        )
        mean = None if masked.total is None else masking.ring.decode(masked.total) / masking.parameters.clients
        if mean is not None:
            kept = KeptMean(asked=len(begun.cohort), replies=masked.survivors, mean=mean)
            self.folder.keep_mean(begun.round, kept)
        return RoundResult(asked=len(begun.cohort), replies=masked.survivors, failures=masked.failures, mean=mean)

    def needs_clients(self, state: ServerState) -> bool:
        """Whether the round after `state` has still to be asked for: nothing of it was kept."""
        plan = self.recipe.plan
        if plan is None or plan.mode != "central":
            return self.folder.kept_mean(state.round + 1) is None
        noise = self._noise(plan, blocks_of(plan, "update", size=len(state.adapter)))
        return noise.kept(finished=state.round, recorded=bool(self.folder.rounds())).state.round <= state.round

    def prior_is_due(self, state: ServerState) -> bool:
        """Whether everybody has still to be asked for a popularity."""
        due = self.recipe.plan is not None and self.recipe.plan.popularity is not None
        asked = any(entry["kind"] == "popularity" for entry in self.ledger.entries)
        return due and not asked and not state.round and self.folder.prior() is None

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
            begun = self.cohorts.begin(0, [block])
            instruction = self._instruction(state, begun, task="popularity")
            collected = self._collect(instruction, begun, UpdateSum(size, blocks=[block]))
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
        with stage("noise"):
            noised = noise.release(collected.total.value, kept.state, expected=self._expected(collected))
        return _result(collected, noised[: blocks[0].size], _metrics(noised, blocks))

    def _kept_result(self, noised: Doubles | None, number: int, blocks: Sequence[Block]) -> RoundResult:
        """A round that was noised before an interruption, released as it was."""
        entries = [entry for entry in self.ledger.entries if entry["kind"] == "update" and entry["round"] == number]
        if not entries:
            raise VerificationError(f"{self.folder.ledger} lacks what round {number} paid. Restore it from a copy.")
        asked, replies = len(entries[-1]["participants"]), len(entries[-1]["replies"])
        return RoundResult(
            asked=asked,
            replies=replies,
            # Why the others are not in it was not written down.
            failures=Counter(unrecorded=asked - replies) if asked > replies else Counter(),
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
        with stage("draw"):
            begun = self.cohorts.begin(state.round + 1, blocks)
        instruction = self._instruction(state, begun, prior=prior)
        federation = self.recipe.federation
        seed = draw_seed(self.recipe.seed, "groups", begun.round)
        groups = draw_groups(begun.cohort, count=federation.groups, seed=seed)
        total = UpdateSum(len(state.adapter), blocks=blocks, norm_bound=federation.norm_bound, groups=groups)
        return self._collect(instruction, begun, total)

    def _instruction(
        self, state: ServerState, begun: Begun, *, task: Task = "update", prior: Floats | None = None
    ) -> Instruction:
        return Instruction(
            run=self.recipe.run_id,
            round=begun.round,
            token=begun.token,
            adapter=state.adapter,
            layout=self.recipe.layout,
            plan=self.recipe.plan,
            negatives_seed=draw_seed(self.recipe.seed, "negatives", begun.round),
            task=task,
            prior=prior,
        )

    def _collect(self, instruction: Instruction, begun: Begun, total: UpdateSum) -> Collected:
        federation = self.recipe.federation
        # A popularity is asked of everybody, and everybody's counts; so does everybody whose coin showed heads.
        everybody = instruction.task == "popularity" or federation.sampling_rate is not None
        enough = len(begun.cohort) if everybody else federation.cohort
        until = Until(timeout=federation.timeout, enough=enough)
        with stage("ask and add up"):
            collected = ask(self.engine, instruction, begun.cohort, total=total, until=until)
        # Who refuses now, as its mains are off or its owner said no, may have paid before the interruption.
        return replace(collected, spent=sorted(begun.cohort)) if begun.again else collected

    def _pay(self, plan: PrivacyPlan, collected: Collected, blocks: Sequence[Block]) -> None:
        secret = self.recipe.noise == "system"
        with stage("pay"):
            pay(self.ledger, plan, collected, blocks, guarantee=secret, dropped=self._dropped(collected))

    def _dropped(self, collected: Collected) -> bool:
        """Whether too few replied; a median of means needs somebody in every group.

        A private round of secret coins is released whoever replied: that it was dropped would tell of the coins.
        """
        if self.recipe.plan is not None and self.recipe.federation.sampling_rate is not None:
            return False
        return collected.total.count < self.recipe.federation.min_replies or collected.total.empty_groups > 0

    def _expected(self, collected: Collected) -> int:
        """The expected cohort, whoever replied.

        Where the server adds noise for a whole cohort, or coins say who is asked, it is the cohort however few were
        there to be asked: a sum of one is no update of a hundred.
        """
        plan, federation = self.recipe.plan, self.recipe.federation
        if federation.sampling_rate is not None or (plan is not None and plan.mode == "central"):
            return federation.cohort
        return min(self.recipe.federation.cohort, max(len(collected.cohort), 1))


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
