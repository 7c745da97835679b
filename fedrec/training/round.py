"""The rounds of a run, the same under every engine.

draw the cohort -> ask -> sum what is sound -> write the ledger -> noise -> step -> publish -> commit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.data.sequences import Floats
from fedrec.errors import VerificationError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.accounting import worst_epsilon
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.mechanism import l2_norm
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.seal import Seal, require_sealed
from fedrec.release import signing_key
from fedrec.training.aggregation import ServerState
from fedrec.training.collecting import Engine
from fedrec.training.drawing import Readiness
from fedrec.training.recipe import Recipe
from fedrec.training.run_folder import RunFolder
from fedrec.training.server_round import RoundResult, RoundServer
from fedrec.training.stages import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a run does around its rounds.

    measure: validation metrics of a state, or None when none are due. publish: writes a
    release of a state. report: told every record. prior: told the released popularity.
    gate: returns when the round of a number may ask its clients, told how many are ready
    whenever it wants to know; what it raises ends the run before anything is asked or spent.
    """

    measure: Callable[[ServerState], dict[str, Any] | None]
    publish: Callable[[ServerState, str], None]
    report: Callable[[dict[str, Any]], None]
    prior: Callable[[Floats], None] = lambda _: None
    gate: Callable[[int, Callable[[], Readiness]], None] = lambda *_: None


def run_rounds(
    folder: RunFolder,
    engine: Engine,
    recipe: Recipe,
    start: ServerState,
    hooks: Hooks,
    *,
    key: Ed25519PrivateKey | None = None,
) -> ServerState:
    """Run, or go on with, all rounds of a recipe; returns the final state.

    key: vouches for the ledger; the run's own, made on first use, if None.
    """
    key = key or signing_key(folder.signing_key)
    seal = Seal(folder.seal, key)
    with Ledger(folder.ledger, seal=seal) as ledger:
        state = folder.state() or start
        require_sealed(folder.ledger, ledger.hashes, folder.seal, key.public_key())
        # An entry whose seal a kill prevented is sealed now, and an empty ledger before its first.
        seal(ledger.head)
        _require_whole(ledger, folder, state)
        server = RoundServer(folder=folder, engine=engine, recipe=recipe, ledger=ledger)
        server.settle(state)
        if state.round == 0:
            # Before the first message: a device needs a release to answer it. A released popularity
            # comes with that message's reply, so this release has none yet.
            with stage("publish"):
                hooks.publish(state, ledger.head)
        if server.prior_is_due(state):
            hooks.gate(0, partial(server.cohorts.readiness, 0))
        with stage("popularity"):
            prior = server.prior(state)
        if prior is not None:
            hooks.prior(prior)
        while state.round < recipe.federation.rounds:
            if server.needs_clients(state):
                hooks.gate(state.round + 1, partial(server.cohorts.readiness, state.round + 1))
            began = time.monotonic()
            with stage("round"):
                result = server.round(state, prior)
            with stage("step"):
                state, norm = _step(state, result, recipe.federation)
            if state.round % recipe.federation.release_every == 0 or state.round == recipe.federation.rounds:
                with stage("publish"):
                    hooks.publish(state, ledger.head)
            seconds = time.monotonic() - began
            with stage("measure"):
                validation = hooks.measure(state)
            record = {
                "round": state.round,
                "asked": result.asked,
                "replies": result.replies,
                "failures": dict(result.failures),
                "update_norm": norm,
                "seconds": seconds,
                "epsilon": _epsilon(ledger, recipe.plan),
                "ledger_head": ledger.head,
                "guarantee": recipe.plan is not None and recipe.noise == "system",
                "validation": validation,
                "released_metrics": result.metrics,
            }
            with stage("commit"):
                folder.commit(state, record)
            hooks.report(record)
    return state


def _require_whole(ledger: Ledger, folder: RunFolder, state: ServerState) -> None:
    """Raise VerificationError if the state, or the ledger, is behind what is on record."""
    records = folder.rounds()
    # A record is written just before the state that makes it count.
    if records and records[-1]["round"] > state.round + 1:
        raise VerificationError(
            f"{folder.path} is at round {state.round} and on record as past round {records[-1]['round']}: it was set "
            "back. Restore the whole folder from one copy; a round must not be released twice."
        )
    if records and records[-1]["ledger_head"] not in ledger.hashes:
        raise VerificationError(
            f"{folder.ledger} lacks what round {records[-1]['round']} paid: entries were cut off. "
            "Restore the ledger from a copy; this run cannot go on without it."
        )


def _epsilon(ledger: Ledger, plan: PrivacyPlan | None) -> float | None:
    """What the client that spent most has spent so far."""
    if plan is None:
        return None
    return worst_epsilon(ledger.tally.spendings()[0], delta=plan.delta)


def _step(state: ServerState, result: RoundResult, federation: FederationConfig) -> tuple[ServerState, float]:
    if result.mean is None:
        return state.skip(), 0.0
    advanced = state.advance(result.mean, federation)
    if not np.isfinite(advanced.adapter).all():
        # Finite entries can still overflow together: such a round moves nothing.
        result.failures["overflow"] += 1
        return state.skip(), 0.0
    return advanced, float(l2_norm(result.mean))
