"""Who is asked, how many too many, and who is charged for it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.budget import Budget
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.plan import PopularityRelease, PrivacyPlan
from fedrec.privacy.spends import GaussianSpend
from fedrec.privacy.statement import composed_epsilon, participations
from fedrec.privacy.tally import Tally
from fedrec.training.client import Reply
from fedrec.training.drawing import Cohorts, Readiness, draw_cohort, eligible, within_budget
from fedrec.training.run_folder import RunFolder
from tests.small_worlds import a_central_plan
from tests.training.central_worlds import PLAN, SIZE, Crowd, PowerCutError, a_recipe, run, some_hooks

POPULAR = replace(PLAN, popularity=PopularityRelease(items=1, noise_multiplier=1.0))


@given(st.integers(1, 10_000), st.integers(0, 100))
def test_a_round_asks_the_cohort_and_the_share_beyond_it(cohort: int, percent: int) -> None:
    asked = FederationConfig(cohort=cohort, over_selection=percent / 100).asked
    assert asked == cohort + -(-cohort * percent // 100)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="over_selection"):
        FederationConfig(over_selection=share)


def test_a_round_closes_at_its_cohort_and_the_noise_and_divisor_stay_the_cohorts(tmp_path: Path) -> None:
    noise = {"noise": "seeded", "cohort": 4}
    alone, _ = run(tmp_path / "a", Crowd(4), a_recipe(**noise))
    crowd = Crowd(8)
    over, folder = run(tmp_path / "b", crowd, a_recipe(**noise, over_selection=0.5))
    assert len(crowd.asked[0][1]) == 6
    # Everybody sends the same: four of them are the sum, whoever they are.
    assert np.array_equal(over.adapter, alone.adapter)
    record = folder.rounds()[0]
    assert (record["asked"], record["replies"], record["failures"]) == (6, 4, {"not_needed": 2})


def test_whoever_was_asked_beyond_the_cohort_is_charged(tmp_path: Path) -> None:
    crowd = Crowd(8)
    _, folder = run(tmp_path, crowd, a_recipe(cohort=4, over_selection=0.5))
    (event,) = read_events(folder.ledger)
    assert event["participants"] == sorted(crowd.asked[0][1])
    assert len(event["participants"]) == 6
    assert len(event["replies"]) == 4


def test_who_hands_on_the_replies_is_told_when_nobody_listens_any_more(tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Crowd):
        def collect(self, instruction: Any, cohort: Any, *, timeout: float) -> Any:
            try:
                yield from super().collect(instruction, cohort, timeout=timeout)
            finally:
                told.append("closed")

    hooks = some_hooks(publish=lambda state, _: told.append(f"released {state.round}"))
    run(tmp_path, Told(6), a_recipe(cohort=4, over_selection=0.5), hooks)
    assert told == ["released 0", "closed", "released 1"]


def test_one_that_refused_before_the_round_closed_is_not_charged(tmp_path: Path) -> None:
    class Refusing(Crowd):
        def collect(self, instruction: Any, cohort: Any, *, timeout: float) -> Any:
            first, *others = cohort
            yield Reply(client=first, code="RefusedError")
            yield from super().collect(instruction, others, timeout=timeout)

    crowd = Refusing(6)
    _, folder = run(tmp_path, crowd, a_recipe(cohort=4, over_selection=0.5))
    (event,) = read_events(folder.ledger)
    assert len(event["participants"]) == 5
    assert folder.rounds()[0]["failures"] == {"RefusedError": 1, "not_needed": 1}


def test_those_asked_in_vain_count_towards_their_cap(tmp_path: Path) -> None:
    crowd = Crowd(6)
    _, folder = run(tmp_path, crowd, a_recipe(a_central_plan(cap=1), rounds=2, cohort=4, over_selection=0.5))
    assert [len(cohort) for _, cohort in crowd.asked] == [6, 0]
    assert set(participations(read_events(folder.ledger)).values()) == {1}


@contextmanager
def cohorts(path: Path, connected: list[int], plan: PrivacyPlan = PLAN) -> Iterator[Cohorts]:
    folder = RunFolder(path / "run", "", resume=True)
    with Ledger(folder.ledger) as ledger:
        yield Cohorts(folder=folder, recipe=a_recipe(plan), ledger=ledger, connected=lambda _: connected)


def test_readiness_counts_those_who_may_still_take_part(tmp_path: Path) -> None:
    plan = a_central_plan(cap=1)
    run(tmp_path, Crowd(6), a_recipe(plan, cohort=4))
    with cohorts(tmp_path, list(range(6)), plan) as there:
        found = there.readiness(2)
    assert found == Readiness(connected=6, able=2, needed=4)


def test_readiness_of_a_round_that_was_begun_counts_its_own_cohort(tmp_path: Path) -> None:
    def power_cut(*_: Any) -> np.ndarray:
        raise PowerCutError

    with suppress(PowerCutError):
        run(tmp_path, Crowd(8, reply_of=power_cut), a_recipe(cohort=4))
    with cohorts(tmp_path, []) as nobody:
        asked = nobody.begin(1, []).cohort
    with cohorts(tmp_path, [*asked[:2], *(set(range(8)) - set(asked))]) as some:
        found = some.readiness(1)
    assert found == Readiness(connected=6, able=2, needed=4, begun=True)


def test_a_popularity_that_was_interrupted_is_asked_of_the_same_clients_under_the_same_token(tmp_path: Path) -> None:
    """So that a client which paid before the interruption sends again what it stored."""
    asked: list[Any] = []

    def power_cut(client: int, instruction: Any) -> np.ndarray:
        asked.append((instruction.token, client))
        if client == 2:
            raise PowerCutError
        return np.zeros(8, np.float32)

    with suppress(PowerCutError):
        run(tmp_path, Crowd(4, reply_of=power_cut), a_recipe(POPULAR))
    again = Crowd(5)
    run(tmp_path, again, a_recipe(POPULAR))
    instruction, cohort = again.asked[0]
    assert (instruction.task, instruction.token, cohort) == ("popularity", asked[0][0], [0, 1, 2, 3])


def test_the_gate_is_asked_before_anybody_else_and_ends_a_run_that_it_refuses(tmp_path: Path) -> None:
    crowd, seen = Crowd(4), []

    def gate(number: int, readiness: Any) -> None:
        seen.append((number, len(crowd.asked), readiness()))
        if number == 3:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        run(tmp_path, crowd, a_recipe(rounds=5), some_hooks(gate=gate))
    ready = Readiness(connected=4, able=4, needed=4)
    assert seen == [(1, 0, ready), (2, 1, ready), (3, 2, ready)]
    assert len(read_events(tmp_path / "run" / "ledger.jsonl")) == 2
    assert not RunFolder(tmp_path / "run", "", resume=True).pending(3)


def test_the_gate_is_asked_before_the_popularity_and_once_only(tmp_path: Path) -> None:
    seen: list[int] = []
    hooks = some_hooks(gate=lambda number, _: seen.append(number))
    run(tmp_path, Crowd(), a_recipe(POPULAR, rounds=1), hooks)
    run(tmp_path, Crowd(), a_recipe(POPULAR, rounds=2), hooks)
    assert seen == [0, 1, 2]


def test_a_round_that_was_noised_already_waits_for_nobody(tmp_path: Path) -> None:
    def power_cut(state: Any, _: str) -> None:
        if state.round:
            raise PowerCutError

    with suppress(PowerCutError):
        run(tmp_path, Crowd(), a_recipe(), some_hooks(publish=power_cut))
    seen: list[int] = []
    state, _ = run(tmp_path, Crowd(0), a_recipe(), some_hooks(gate=lambda number, _: seen.append(number)))
    assert (seen, state.round, len(state.adapter)) == ([], 1, SIZE)


def drawn_one_by_one(clients: list[int], plan: PrivacyPlan, entries: list[dict[str, Any]], number: int) -> list[int]:
    """Who may be asked, by a loop over entries and clients."""
    taken: Counter[int] = Counter()
    last: dict[int, int] = {}
    for entry in entries:
        if entry["kind"] == "update":
            taken.update(entry["participants"])
            last.update(dict.fromkeys(entry["participants"], entry["round"]))
    rests = plan.limits.separation if plan.limits.separation > 1 else 0
    return [
        client
        for client in clients
        if taken[client] < plan.limits.cap and number - last.get(client, number - rests) >= rests
    ]


@given(
    st.lists(st.integers(0, 20), unique=True, max_size=20),
    st.lists(st.tuples(st.sampled_from(["update", "metrics"]), st.lists(st.integers(0, 20), max_size=8)), max_size=8),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_cap_and_separation_leave_whom_a_loop_over_everybody_leaves(
    clients: list[int], rounds: list[tuple[str, list[int]]], cap: int, separation: int
) -> None:
    plan = replace(PLAN, limits=replace(PLAN.limits, cap=cap, separation=separation))
    spend = GaussianSpend(noise_multiplier=1.0).as_event()
    entries = [
        {**spend, "kind": kind, "participants": people, "round": number}
        for number, (kind, people) in enumerate(rounds, start=1)
    ]
    found = eligible(np.array(clients, dtype=np.int64), plan, Tally.of(entries), round_number=len(rounds) + 1)
    assert found.tolist() == drawn_one_by_one(clients, plan, entries, len(rounds) + 1)


@given(
    st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8), max_size=6), st.sampled_from([0.5, 2.0, 3.0, 5.0])
)
def test_a_budget_leaves_whom_it_leaves_one_by_one(rounds: list[list[int]], epsilon: float) -> None:
    spend = GaussianSpend(noise_multiplier=2.0)
    entries = [{**spend.as_event(), "kind": "update", "participants": people, "round": 1} for people in rounds]
    budget = Budget(epsilon=epsilon, delta=1e-6)
    spent = Counter(client for people in rounds for client in people)
    expected = [client for client in range(10) if composed_epsilon([spend] * (spent[client] + 1), 1e-6) <= epsilon]
    assert within_budget(np.arange(10), Tally.of(entries), [spend], budget).tolist() == expected


def test_the_cohort_of_a_seed_stays_what_it_was() -> None:
    labels, cohort = ("cohort", 3), [283505, 288643, 332724, 764131]
    assert draw_cohort(range(1_000_000), size=4, seed=7, labels=labels) == cohort
    assert draw_cohort(np.arange(1_000_000), size=4, seed=7, labels=labels) == cohort
    assert draw_cohort(list(range(5)), size=9, seed=7, labels=labels) == [1, 2, 4, 3, 0]
    assert draw_cohort([], size=4, seed=7, labels=labels) == []
