import os
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest

from fedrec.errors import FedrecError, RefusedError, VerificationError
from fedrec.federation_config import FederationConfig
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.chain import GENESIS
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.statement import check_client_ledgers
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Reply
from fedrec.training.recipe import Recipe
from fedrec.training.round import Hooks, run_rounds
from fedrec.training.run_folder import RunFolder
from tests.small_worlds import a_model
from tests.training import central_worlds
from tests.training.clients import PLAN, a_client

SIZE = 6


def nothing(*_):
    """A hook that does nothing."""


class Toy:
    """An engine whose clients reply with a vector of their own number; `odd` says who does otherwise."""

    def __init__(self, clients=4, odd=None):
        self.population = range(clients)
        self.odd = odd or {}
        self.asked = []

    def clients(self, number):  # noqa: ARG002
        return self.population

    def collect(self, instruction, cohort, *, timeout):  # noqa: ARG002
        self.asked.append((instruction, list(cohort)))
        for client in cohort:
            usual = Reply(client=client, update=np.full(SIZE, client + 1, np.float32), attempts=1)
            yield from self.odd.get(client, lambda reply: [reply])(usual)


def a_recipe(plan=PLAN, **federation):
    return central_worlds.a_recipe(plan, **federation)


def run(tmp_path, engine, recipe, hooks=None, *, start=None, resume=False):
    folder = RunFolder(tmp_path / "run", "", resume=resume)
    hooks = hooks or Hooks(measure=nothing, publish=nothing, report=nothing)
    return run_rounds(folder, engine, recipe, start or ServerState.start(np.zeros(SIZE, np.float32)), hooks), folder


def test_a_round_is_the_mean_over_the_cohort(tmp_path):
    state, folder = run(tmp_path, Toy(), a_recipe())
    assert state.adapter == pytest.approx(np.full(SIZE, 2.5))
    (record,) = folder.rounds()
    assert (record["round"], record["asked"], record["replies"], record["failures"]) == (1, 4, 4, {})
    assert record["update_norm"] == pytest.approx(2.5 * SIZE**0.5)
    assert record["epsilon"] == pytest.approx(epsilon_of(((PLAN.participation, 1),), delta=PLAN.delta))


def test_a_record_holds_no_clients_value(tmp_path):
    _, folder = run(tmp_path, Toy(), a_recipe())
    keys = {
        "round",
        "asked",
        "replies",
        "failures",
        "update_norm",
        "seconds",
        "epsilon",
        "validation",
        "ledger_head",
        "guarantee",
        "released_metrics",
    }
    assert set(folder.rounds()[0]) == keys


BROKEN = {
    "ClientError": lambda reply: [Reply(client=reply.client, code="ClientError")],
    "empty": lambda reply: [Reply(client=reply.client)],
    "unsound": lambda reply: [Reply(client=reply.client, update=np.zeros(SIZE + 1, np.float32))],
    "timeout": lambda _: [],
}
GARBAGE = [
    np.zeros(SIZE + 1, np.float32),
    np.zeros((SIZE, 1), np.float32),
    np.zeros(0, np.float32),
    np.full(SIZE, np.nan, np.float32),
    np.full(SIZE, np.inf, np.float32),
    np.full(SIZE, 1e300),
    np.ones(SIZE, np.int64),
    np.ones(SIZE, complex),
]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_client_is_counted_and_does_not_stop_the_others(tmp_path, fault):
    state, folder = run(tmp_path, Toy(odd={0: BROKEN[fault], 3: BROKEN[fault]}), a_recipe())
    # Clients 1 and 2 of an expected cohort of 4.
    assert state.adapter == pytest.approx(np.full(SIZE, 5 / 4))
    assert folder.rounds()[0]["failures"] == {fault: 2}
    assert folder.rounds()[0]["replies"] == 2


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda each: f"{each.dtype}{each.shape}")
def test_garbage_is_not_added(tmp_path, garbage):
    engine = Toy(odd={2: lambda reply: [Reply(client=reply.client, update=garbage)]})
    state, folder = run(tmp_path, engine, a_recipe())
    assert state.adapter == pytest.approx(np.full(SIZE, (1 + 2 + 4) / 4))
    assert folder.rounds()[0]["failures"] == {"unsound": 1}


def test_a_second_reply_of_the_same_client_is_not_added(tmp_path):
    engine = Toy(odd={1: lambda reply: [reply, reply, Reply(client=1, update=np.full(SIZE, 9, np.float32))]})
    state, folder = run(tmp_path, engine, a_recipe())
    assert state.adapter == pytest.approx(np.full(SIZE, 2.5))
    assert folder.rounds()[0]["failures"] == {"duplicate": 2}


def test_a_reply_after_an_unsound_one_is_not_added_either(tmp_path):
    engine = Toy(odd={1: lambda reply: [Reply(client=1, update=GARBAGE[0]), reply]})
    state, folder = run(tmp_path, engine, a_recipe())
    assert state.adapter == pytest.approx(np.full(SIZE, (1 + 3 + 4) / 4))
    assert folder.rounds()[0]["failures"] == {"unsound": 1, "duplicate": 1}


def test_a_stranger_is_not_added(tmp_path):
    stranger = Reply(client=77, update=np.full(SIZE, 100, np.float32), attempts=3)
    state, folder = run(tmp_path, Toy(odd={1: lambda reply: [stranger, reply]}), a_recipe())
    assert state.adapter == pytest.approx(np.full(SIZE, 2.5))
    assert folder.rounds()[0]["failures"] == {"not_asked": 1}
    assert read_events(folder.ledger)[0]["participants"] == [0, 1, 2, 3]


def test_below_the_least_number_of_replies_a_round_is_dropped_and_still_charged(tmp_path):
    engine = Toy(odd=dict.fromkeys((0, 1), BROKEN["timeout"]))
    start = ServerState.start(np.ones(SIZE, np.float32))
    state, folder = run(tmp_path, engine, a_recipe(min_replies=3), start=start)
    assert np.array_equal(state.adapter, start.adapter)
    assert (state.round, state.steps) == (1, 0)
    assert folder.rounds()[0]["replies"] == 2
    assert read_events(folder.ledger)[0]["participants"] == [0, 1, 2, 3]


@pytest.mark.parametrize("code", ["BudgetError", "RefusedError", "LayoutError"])
def test_a_client_that_refused_has_spent_nothing(tmp_path, code):
    engine = Toy(odd={2: lambda reply: [Reply(client=reply.client, code=code)]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert read_events(folder.ledger)[0]["participants"] == [0, 1, 3]
    assert folder.rounds()[0]["failures"] == {code: 1}


@pytest.mark.parametrize("code", ["UnsafeUpdateError", "crashed", "client_error", "malformed", "anything"])
def test_any_other_fault_may_have_been_paid_for_and_is_charged(tmp_path, code):
    engine = Toy(odd={2: lambda reply: [Reply(client=reply.client, code=code)]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert read_events(folder.ledger)[0]["participants"] == [0, 1, 2, 3]


def test_a_client_cannot_take_back_what_it_spent(tmp_path):
    engine = Toy(odd={2: lambda reply: [reply, Reply(client=2, code="BudgetError")]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert read_events(folder.ledger)[0]["participants"] == [0, 1, 2, 3]


def charged(folder):
    return Counter(client for event in read_events(folder.ledger) for client in event["participants"])


def test_attempts_that_were_interrupted_are_charged_each(tmp_path):
    engine = Toy(odd={2: lambda reply: [Reply(client=2, update=reply.update, attempts=3)]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert charged(folder) == {0: 1, 1: 1, 2: 3, 3: 1}
    released = [event["released"] for event in read_events(folder.ledger)]
    assert released == ["nothing: interrupted", "nothing: interrupted", "adapter of round 1"]


def test_a_refusal_at_the_cap_still_charges_the_attempts_that_came_before(tmp_path):
    engine = Toy(odd={2: lambda _: [Reply(client=2, code="BudgetError", attempts=2)]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert charged(folder) == {0: 1, 1: 1, 2: 2, 3: 1}


def test_a_claim_takes_no_client_over_its_cap(tmp_path):
    def boast(reply):
        return [Reply(client=reply.client, update=reply.update, attempts=10**6 if engine.asked[3:] else 1)]

    engine = Toy(clients=3, odd={2: boast})
    _, folder = run(tmp_path, engine, a_recipe(rounds=5, cohort=3))
    assert charged(folder)[2] == PLAN.limits.cap


def test_a_repeated_claim_of_interruptions_is_charged_once(tmp_path):
    claim = Reply(client=2, update=np.full(SIZE, 3, np.float32), attempts=3)
    _, folder = run(tmp_path, Toy(odd={2: lambda _: [claim, claim, claim]}), a_recipe())
    assert charged(folder)[2] == 3


@pytest.mark.parametrize(("claim", "believed"), [(10**9, PLAN.limits.cap), (-7, 1), (0, 1)])
def test_a_claim_of_attempts_is_believed_up_to_the_cap(tmp_path, claim, believed):
    engine = Toy(odd={2: lambda reply: [Reply(client=2, update=reply.update, attempts=claim)]})
    _, folder = run(tmp_path, engine, a_recipe())
    assert charged(folder)[2] == believed


def test_no_client_is_drawn_beyond_its_cap(tmp_path):
    engine = Toy(clients=3)
    _, folder = run(tmp_path, engine, a_recipe(rounds=12, cohort=2))
    assert charged(folder) == dict.fromkeys(range(3), PLAN.limits.cap)
    assert [len(cohort) for _, cohort in engine.asked][-3:] == [1, 0, 0] or folder.rounds()[-1]["asked"] == 0
    assert folder.rounds()[-1]["replies"] == 0


def test_without_privacy_nothing_is_charged_and_no_cap_holds(tmp_path):
    engine = Toy(clients=2)
    state, folder = run(tmp_path, engine, a_recipe(None, rounds=PLAN.limits.cap + 3, cohort=2))
    assert read_events(folder.ledger) == []
    assert {len(cohort) for _, cohort in engine.asked} == {2}
    assert state.steps == PLAN.limits.cap + 3
    assert folder.rounds()[0]["epsilon"] is None


def test_the_cohort_is_drawn_without_replacement_and_differs_from_round_to_round(tmp_path):
    engine = Toy(clients=50)
    run(tmp_path, engine, a_recipe(rounds=8, cohort=10))
    cohorts = [cohort for _, cohort in engine.asked]
    assert all(len(set(cohort)) == 10 for cohort in cohorts)
    assert len({tuple(cohort) for cohort in cohorts}) == 8


def test_every_round_has_a_token_and_negatives_of_its_own_and_another_run_other_tokens(tmp_path):
    one, other = Toy(), Toy()
    run(tmp_path / "one", one, a_recipe(rounds=4))
    recipe = a_recipe(rounds=4)
    again = Recipe(
        federation=recipe.federation,
        plan=PLAN,
        layout="layout",
        run_id="second",
        seed=recipe.seed,
        noise="system",
        catalogue=8,
    )
    run(tmp_path / "other", other, again)
    tokens = [instruction.token for engine in (one, other) for instruction, _ in engine.asked]
    assert len(set(tokens)) == 8
    assert len({instruction.negatives_seed for instruction, _ in one.asked}) == 4


def test_the_ledger_is_on_the_disk_before_a_release_is_published(tmp_path):
    seen = []

    def publish(state, head):
        content = (tmp_path / "run" / "ledger.jsonl").read_bytes()
        seen.append((state.round, len(content.splitlines()), head))

    hooks = Hooks(measure=nothing, publish=publish, report=nothing)
    _, folder = run(tmp_path, Toy(), a_recipe(rounds=5, release_every=2), hooks)
    assert [(number, lines) for number, lines, _ in seen] == [(0, 0), (2, 2), (4, 4), (5, 5)]
    with Ledger(folder.ledger) as ledger:
        assert seen[-1][2] == ledger.head != GENESIS


def test_a_record_is_reported_only_once_it_is_on_the_disk(tmp_path):
    folder = RunFolder(tmp_path / "run", "", resume=False)
    reported = []

    def report(record):
        assert folder.rounds()[-1] == record
        assert folder.state().round == record["round"]
        reported.append(record["round"])

    hooks = Hooks(measure=lambda state: {"ndcg@10": state.round}, publish=nothing, report=report)
    run_rounds(folder, Toy(), a_recipe(rounds=3), ServerState.start(np.zeros(SIZE, np.float32)), hooks)
    assert reported == [1, 2, 3]
    assert [record["validation"]["ndcg@10"] for record in folder.rounds()] == [1, 2, 3]


def test_a_finished_run_asks_nobody_again(tmp_path):
    first, _ = run(tmp_path, Toy(), a_recipe(rounds=2))
    engine = Toy()
    again, _ = run(tmp_path, engine, a_recipe(rounds=2), resume=True)
    assert engine.asked == []
    assert np.array_equal(first.adapter, again.adapter)


def test_who_refused_before_an_interruption_and_took_part_after_it_is_charged(tmp_path, monkeypatch):
    refusing = Toy(odd={2: lambda _: [Reply(client=2, code="RefusedError")]})
    with monkeypatch.context() as patch, pytest.raises(central_worlds.PowerCutError):
        central_worlds.cut_at_write(patch, "mean.safetensors")
        run(tmp_path, refusing, a_recipe())
    _, folder = run(tmp_path, Toy(), a_recipe(), resume=True)
    assert charged(folder) == dict.fromkeys(range(4), 1)


@pytest.mark.parametrize("code", ["RefusedError", "BudgetError", "LayoutError"])
def test_who_may_have_taken_part_before_an_interruption_and_refuses_after_it_is_charged(tmp_path, code):
    with pytest.raises(central_worlds.PowerCutError):
        run(tmp_path, Toy(odd={3: power_cut}), a_recipe())
    refusing = Toy(odd={2: lambda _: [Reply(client=2, code=code)]})
    _, folder = run(tmp_path, refusing, a_recipe(), resume=True)
    assert charged(folder) == dict.fromkeys(range(4), 1)


def power_cut(_):
    raise central_worlds.PowerCutError


# Stopped at any moment and gone on with, a run ends in the same bytes.


class PowerCutError(BaseException):
    """The machine went off; no part of the product knows this."""


class Fuse:
    """Blows at the `at`-th point of a run that somebody passes."""

    def __init__(self, at=-1):
        self.at, self.passed, self.name = at, 0, ""

    def point(self, name, *_):
        self.passed += 1
        if self.passed == self.at:
            self.name = name
            raise PowerCutError(name)


class Devices:
    """An engine of real clients with seeded noise; every step of theirs passes the fuse."""

    def __init__(self, model, folder, fuse):
        self.model, self.folder, self.fuse = model, folder, fuse

    def clients(self, number):  # noqa: ARG002
        self.fuse.point("clients")
        return range(3)

    def collect(self, instruction, cohort, *, timeout):  # noqa: ARG002
        self.fuse.point("collect")
        for number in cohort:
            client = self.client(number)
            self.fuse.point("before a reply")
            try:
                reply = client.reply(instruction)
            except FedrecError as error:
                reply = Reply(client=number, code=type(error).__name__)
            self.fuse.point("after a reply")
            yield reply
        self.fuse.point("after the last reply")

    def client(self, number):
        made = a_client(number, self.folder.client(number), self.model)

        def examples():
            self.fuse.point("after paying")
            return made.examples()

        return a_client(number, self.folder.client(number), self.model, examples=examples)


def federate(path, fuse):
    """One sitting of a run of three rounds; returns its final state and folder."""
    model = a_model({"history_proj": 4})
    folder = RunFolder(path, "", resume=True)
    recipe = Recipe(
        federation=FederationConfig(rounds=3, cohort=2, server_rate=0.1, release_every=2),
        plan=PLAN,
        layout=model.layout.hash,
        run_id="run",
        seed=1,
        noise="seeded",
        catalogue=8,
    )
    hooks = Hooks(
        measure=lambda _: fuse.point("measure"),
        publish=lambda *_: fuse.point("publish"),
        report=lambda _: fuse.point("report"),
    )
    return run_rounds(folder, Devices(model, folder, fuse), recipe, ServerState.start(model.flatten()), hooks), folder


def put_together(entries):
    """What was charged per round, whether at its end or in part when it was cut off."""
    rounds = {}
    for entry in entries:
        before = rounds.get(entry["token"], {**entry, "participants": [], "replies": {}})
        participants = sorted([*before["participants"], *entry["participants"]])
        rounds[entry["token"]] = {
            **entry,
            "participants": participants,
            "replies": before["replies"] | entry["replies"],
        }
    return list(rounds.values())


def check_against(uninterrupted, state, folder):
    """The same adapter; the same charges but for one entry per interrupted attempt."""
    expected_state, expected_folder = uninterrupted
    assert state.adapter.tobytes() == expected_state.adapter.tobytes()
    assert state.first.tobytes() == expected_state.first.tobytes()
    assert folder.state().adapter.tobytes() == expected_state.adapter.tobytes()
    events = read_events(folder.ledger)
    rounds = [event for event in events if "attempt" not in event]
    assert put_together(rounds) == read_events(expected_folder.ledger)
    wasted = [event for event in events if "attempt" in event]
    assert [event["released"] for event in wasted] == ["nothing: interrupted"] * len(wasted)
    assert [record["round"] for record in folder.rounds()] == [1, 2, 3]
    clients = [(number, folder.client(number) / "ledger.jsonl") for number in range(3)]
    check_client_ledgers(events, clients)
    paid = {number: len(read_events(path)) for number, path in clients}
    assert paid == {number: charged(folder)[number] for number in range(3)}
    return len(wasted)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return federate(tmp_path_factory.mktemp("whole") / "run", Fuse())


def points_of_a_run(tmp_path_factory):
    fuse = Fuse()
    federate(tmp_path_factory.mktemp("points") / "run", fuse)
    return fuse.passed


def test_a_run_stopped_anywhere_ends_in_the_same_bytes_when_resumed(
    tmp_path, tmp_path_factory, uninterrupted, monkeypatch
):
    monkeypatch.setattr(os, "fsync", nothing)
    seen = Counter()
    for at in range(1, points_of_a_run(tmp_path_factory) + 1):
        fuse = Fuse(at)
        with pytest.raises(PowerCutError):
            federate(tmp_path / str(at), fuse)
        wasted = check_against(uninterrupted, *federate(tmp_path / str(at), Fuse()))
        assert wasted == (1 if fuse.name == "after paying" else 0), fuse.name
        seen[fuse.name] += 1
    assert seen["after paying"] == seen["before a reply"] == seen["after a reply"] == 6
    assert seen["measure"] == seen["report"] == 3
    assert seen["publish"] == 3


@pytest.mark.slow
def test_a_power_cut_at_any_write_to_the_disk_is_survived(tmp_path, uninterrupted, monkeypatch):
    at, wasted = 0, 0
    finished = False
    while not finished:
        at += 1
        fuse = Fuse(at)
        monkeypatch.setattr(os, "fsync", lambda _, fuse=fuse: fuse.point("fsync"))
        with suppress(PowerCutError):
            federate(tmp_path / str(at), Fuse())
            finished = True
        monkeypatch.setattr(os, "fsync", nothing)
        found = check_against(uninterrupted, *federate(tmp_path / str(at), Fuse()))
        assert found <= 1
        wasted += found
    assert at > 40
    assert wasted > 0


def test_a_run_stopped_again_and_again_still_ends_in_the_same_bytes(tmp_path, uninterrupted):
    stops = 0
    while True:
        try:
            # Two more points are passed in every sitting than it takes to come back.
            state, folder = federate(tmp_path / "run", Fuse(6 + stops))
            break
        except PowerCutError:
            stops += 1
    assert stops > 3
    assert state.adapter.tobytes() == uninterrupted[0].adapter.tobytes()
    clients = [(number, folder.client(number) / "ledger.jsonl") for number in range(3)]
    check_client_ledgers(read_events(folder.ledger), clients)


def test_updates_that_overflow_together_move_nothing_and_are_recorded(tmp_path):
    huge = np.full(SIZE, 3e38, np.float32)
    engine = Toy(odd={client: lambda reply: [Reply(client=reply.client, update=huge)] for client in range(4)})
    state, folder = run(tmp_path, engine, a_recipe(server_rate=10.0))
    assert not state.adapter.any()
    assert folder.rounds()[0]["failures"] == {"overflow": 1}


def test_a_run_does_not_go_on_with_a_ledger_whose_end_was_cut_off(tmp_path):
    _, folder = run(tmp_path, Toy(), a_recipe(rounds=2))
    lines = folder.ledger.read_bytes().splitlines(keepends=True)
    folder.ledger.write_bytes(b"".join(lines[:-1]))
    engine = Toy()
    with pytest.raises(VerificationError, match="cut off"):
        run(tmp_path, engine, a_recipe(rounds=3), resume=True)
    assert not engine.asked


def test_another_reply_to_a_round_that_was_paid_for_is_paid_for_again(tmp_path, monkeypatch):
    """As from a client that lost what it had stored, and drew other noise."""
    with monkeypatch.context() as patch, suppress(central_worlds.PowerCutError):
        central_worlds.cut_at_write(patch, "mean.safetensors")
        run(tmp_path, Toy(), a_recipe())
    other = Toy(odd={2: lambda reply: [Reply(client=2, update=reply.update + 1, attempts=1)]})
    _, folder = run(tmp_path, other, a_recipe(), resume=True)
    assert [entry["participants"] for entry in read_events(folder.ledger)] == [[0, 1, 2, 3], [2]]


def stop(*_):
    """A gate whose operator lets no further round begin."""
    raise RefusedError("Stopped.")


def test_a_round_that_was_cut_off_is_charged_before_anything_else_happens(tmp_path):
    """Whatever ends the run then, such as the operator's word."""
    with pytest.raises(central_worlds.PowerCutError):
        run(tmp_path, Toy(odd={3: power_cut}), a_recipe())
    assert read_events(tmp_path / "run" / "ledger.jsonl") == []

    hooks = Hooks(measure=nothing, publish=nothing, report=nothing, gate=stop)
    for _ in range(2):
        with pytest.raises(RefusedError):
            run(tmp_path, Toy(), a_recipe(), hooks, resume=True)
    (entry,) = read_events(tmp_path / "run" / "ledger.jsonl")
    assert (entry["participants"], entry["released"]) == ([0, 1, 2, 3], "interrupted: round 1 was asked")


def test_a_round_that_was_charged_when_it_was_cut_off_names_its_release_and_costs_nothing_more(tmp_path):
    with pytest.raises(central_worlds.PowerCutError):
        run(tmp_path, Toy(odd={3: power_cut}), a_recipe())
    _, folder = run(tmp_path, Toy(), a_recipe(), resume=True)
    _, last = read_events(folder.ledger)
    assert (last["participants"], last["released"]) == ([], "adapter of round 1")
    assert sorted(last["replies"]) == ["0", "1", "2", "3"]
    assert charged(folder) == dict.fromkeys(range(4), 1)


def test_a_round_is_owed_by_all_who_were_asked_though_an_attempt_of_one_was_charged_before_the_power_went(
    tmp_path, monkeypatch
):
    append = Ledger.append

    def cut_after_attempts(ledger, event):
        if "attempt" not in event:
            raise central_worlds.PowerCutError
        append(ledger, event)

    claim = Toy(odd={2: lambda reply: [Reply(client=2, update=reply.update, attempts=2)]})
    with monkeypatch.context() as patch, pytest.raises(central_worlds.PowerCutError):
        patch.setattr(Ledger, "append", cut_after_attempts)
        run(tmp_path, claim, a_recipe())
    with pytest.raises(RefusedError):
        run(
            tmp_path, Toy(), a_recipe(), Hooks(measure=nothing, publish=nothing, report=nothing, gate=stop), resume=True
        )
    wasted, owed = read_events(tmp_path / "run" / "ledger.jsonl")
    assert (wasted["participants"], wasted["attempt"]) == ([2], 1)
    assert (owed["participants"], owed["released"]) == ([0, 1, 2, 3], "interrupted: round 1 was asked")


def test_another_reply_after_a_round_was_cut_off_twice_is_paid_for_again(tmp_path, monkeypatch):
    with pytest.raises(central_worlds.PowerCutError):
        run(tmp_path, Toy(odd={3: power_cut}), a_recipe())
    with monkeypatch.context() as patch, pytest.raises(central_worlds.PowerCutError):
        central_worlds.cut_at_write(patch, "mean.safetensors")
        run(tmp_path, Toy(), a_recipe(), resume=True)
    other = Toy(odd={2: lambda reply: [Reply(client=2, update=reply.update + 1, attempts=1)]})
    _, folder = run(tmp_path, other, a_recipe(), resume=True)
    assert charged(folder) == {0: 1, 1: 1, 2: 2, 3: 1}


def test_a_round_that_was_added_up_is_released_as_it_was_whoever_would_reply_now(tmp_path):
    """Another order of replies would be another sum, and a second release of the same round."""

    def power_cut(state, _):
        if state.round:
            raise central_worlds.PowerCutError

    with suppress(central_worlds.PowerCutError):
        run(tmp_path, Toy(), a_recipe(), Hooks(measure=nothing, publish=power_cut, report=nothing))
    other, gates = Toy(clients=3), []
    hooks = Hooks(measure=nothing, publish=nothing, report=nothing, gate=lambda number, _: gates.append(number))
    state, folder = run(tmp_path, other, a_recipe(), hooks, resume=True)
    assert (other.asked, gates) == ([], [])
    assert state.adapter == pytest.approx(np.full(SIZE, 2.5))
    assert (folder.rounds()[0]["asked"], folder.rounds()[0]["replies"]) == (4, 4)
    assert len(read_events(folder.ledger)) == 1


def test_a_damaged_sum_is_one_refusal(tmp_path):
    run(tmp_path, Toy(), a_recipe())
    (tmp_path / "run" / "mean.safetensors").write_bytes(b"torn")
    with pytest.raises(VerificationError, match=r"mean\.safetensors is damaged"):
        run(tmp_path, Toy(), a_recipe(rounds=2), resume=True)
