import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from fedrec.errors import VerificationError
from fedrec.privacy.budget import Budget
from fedrec.privacy.chain import GENESIS
from fedrec.privacy.ledger import ledger_head, read_events
from fedrec.privacy.plan import PopularityRelease
from fedrec.privacy.randomness import noise_source
from fedrec.privacy.seal import Seal
from fedrec.privacy.statement import composed_epsilon, participations
from tests.small_worlds import a_central_plan
from tests.training.central_worlds import (
    CATALOGUE,
    PLAN,
    SIZE,
    Crowd,
    PowerCutError,
    a_recipe,
    cut_at_write,
    run,
    some_hooks,
)

POPULAR = replace(PLAN, popularity=PopularityRelease(items=1, noise_multiplier=1.0))
MEASURED = replace(PLAN, metrics_noise=4.0)
CORRELATED = a_central_plan(clip_norm=0.5, noise_multiplier=2.0, bands=3, separation=3, cap=40)


def drawn(number, kind="update", size=SIZE, *, noise_std=1.0):
    """What a seeded run draws."""
    return noise_source("seeded", 1, "server", number, kind).gaussian(size, noise_std=noise_std)


def test_a_round_is_the_noised_sum_over_the_expected_cohort(tmp_path):
    state, _ = run(tmp_path, Crowd(), a_recipe(noise="seeded"))
    expected = (np.eye(SIZE)[0] * 4 * 0.5 + drawn(1, noise_std=2.0 * 0.5)) / 4
    assert state.adapter == pytest.approx(expected, rel=1e-5)


def test_the_divisor_is_who_was_asked_and_not_who_replied(tmp_path):
    silent = Crowd(reply_of=lambda client, _: None if client else np.full(SIZE, 0.1, np.float32))
    state, folder = run(tmp_path, silent, a_recipe(noise="seeded"))
    assert state.adapter == pytest.approx((np.full(SIZE, 0.1) + drawn(1)) / 4, rel=1e-5)
    assert folder.rounds()[0]["replies"] == 1


def test_the_servers_noise_has_the_planned_standard_deviation(tmp_path):
    nothing = Crowd(reply_of=lambda *_: np.zeros(SIZE, np.float32))
    _, folder = run(tmp_path, nothing, a_recipe(rounds=40, server_optimizer="fedavg"))
    norms = np.array([record["update_norm"] for record in folder.rounds()])
    found = np.sqrt((norms**2).sum() / (40 * SIZE)) * 4
    assert found == pytest.approx(2.0 * 0.5, rel=0.35)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_a_hostile_client_moves_the_sum_no_further_than_the_clip_norm(tmp_path, size):
    def reply_of(client, _):
        return np.full(SIZE, size if client == 2 else 0.0, np.float32)

    honest, _ = run(tmp_path / "a", Crowd(reply_of=lambda *_: np.zeros(SIZE, np.float32)), a_recipe(noise="seeded"))
    hostile, _ = run(tmp_path / "b", Crowd(reply_of=reply_of), a_recipe(noise="seeded"))
    moved = np.linalg.norm(hostile.adapter.astype(float) - honest.adapter)
    assert moved == pytest.approx(0.5 / 4, rel=1e-5)


def test_a_round_with_too_few_replies_is_dropped_charged_and_recorded(tmp_path):
    empty = Crowd(reply_of=lambda client, _: None if client else np.ones(SIZE, np.float32))
    state, folder = run(tmp_path, empty, a_recipe(min_replies=2))
    assert not state.adapter.any()
    (event,) = read_events(folder.ledger)
    assert (event["released"], event["participants"]) == ("nothing: too few replies in round 1", [0, 1, 2, 3])
    assert folder.rounds()[0]["replies"] == 1


def test_the_ledger_pays_before_a_release(tmp_path):
    seen = []
    path = tmp_path / "run" / "ledger.jsonl"
    hooks = some_hooks(publish=lambda state, head: seen.append((state.round, head, ledger_head(path))))
    run(tmp_path, Crowd(), a_recipe(rounds=3, release_every=1), hooks)
    assert [number for number, *_ in seen] == [0, 1, 2, 3]
    assert all(told == on_disk for _, told, on_disk in seen)


def test_the_start_is_released_before_the_first_message(tmp_path):
    crowd, seen = Crowd(), []
    hooks = some_hooks(
        prior=lambda _: seen.append("prior"),
        publish=lambda state, head: seen.append((state.round, len(crowd.asked), state.adapter.any(), head)),
    )
    run(tmp_path, crowd, a_recipe(POPULAR, rounds=1), hooks)
    assert seen[:2] == [(0, 0, False, GENESIS), "prior"]
    assert [number for number, *_ in seen[2:]] == [1]


def test_a_run_that_goes_on_does_not_release_its_start_again(tmp_path):
    run(tmp_path, Crowd(), a_recipe(rounds=1))
    seen = []
    run(tmp_path, Crowd(), a_recipe(rounds=2), some_hooks(publish=lambda state, _: seen.append(state.round)))
    assert seen == [2]


def test_a_noised_round_that_was_kept_is_released_as_it_was_and_not_asked_for_again(tmp_path):
    def power_cut(state, _):
        if state.round:
            raise PowerCutError

    with suppress(PowerCutError):
        run(tmp_path, Crowd(), a_recipe(), some_hooks(publish=power_cut))
    other = Crowd(reply_of=lambda *_: np.ones(SIZE, np.float32))
    state, folder = run(tmp_path, other, a_recipe())
    assert other.asked == []
    assert len(read_events(folder.ledger)) == 1
    assert (folder.rounds()[0]["asked"], folder.rounds()[0]["replies"]) == (4, 4)
    assert state.adapter.any()


def test_a_round_that_was_paid_for_and_lost_is_asked_for_again_at_its_price(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, suppress(PowerCutError):
        cut_at_write(patch, "noise.bin")
        run(tmp_path, Crowd(), a_recipe())
    again = Crowd()
    _, folder = run(tmp_path, again, a_recipe())
    first, second = read_events(folder.ledger)
    assert first["participants"] == second["participants"] == [0, 1, 2, 3]
    assert first["token"] != second["token"] == again.asked[0][0].token
    assert participations(read_events(folder.ledger)) == dict.fromkeys(range(4), 2)


def test_a_lost_round_is_not_asked_of_clients_whose_cap_it_would_pass(tmp_path, monkeypatch):
    plan = a_central_plan(cap=1)
    with monkeypatch.context() as patch, suppress(PowerCutError):
        cut_at_write(patch, "noise.bin")
        run(tmp_path, Crowd(6), a_recipe(plan, cohort=3))
    again = Crowd(6)
    _, folder = run(tmp_path, again, a_recipe(plan, cohort=3, rounds=2))
    # Round 1 is dropped: nobody of its cohort may take part again. Round 2 goes to the others.
    assert [len(cohort) for _, cohort in again.asked] == [0, 3]
    assert max(participations(read_events(folder.ledger)).values()) == 1
    assert [record["replies"] for record in folder.rounds()] == [0, 3]


@pytest.mark.slow
def test_a_power_cut_at_any_write_is_survived_and_hides_no_spending(tmp_path, monkeypatch):
    """Every release has its entry, whatever write was the last."""
    plan = replace(CORRELATED, popularity=PopularityRelease(items=1, noise_multiplier=1.0), metrics_noise=4.0)
    recipe = a_recipe(plan, rounds=4, cohort=2, release_every=1)
    sync = os.fsync
    at, finished = 0, False
    while not finished:
        at += 1
        path = tmp_path / str(at)
        released = []

        def publish(state, head, path=path, released=released):
            events = read_events(path / "run" / "ledger.jsonl")
            assert head == ledger_head(path / "run" / "ledger.jsonl")
            released.append((state.round, state.adapter.tobytes()))
            assert {event["round"] for event in events if event["kind"] == "update"} >= set(range(1, state.round + 1))

        left = [at]

        def cut(handle, left=left):
            left[0] -= 1
            if not left[0]:
                raise PowerCutError
            sync(handle)

        with monkeypatch.context() as patch, suppress(PowerCutError):
            patch.setattr(os, "fsync", cut)
            run(path, Crowd(8), recipe, some_hooks(publish=publish))
            finished = True
        _, folder = run(path, Crowd(8), recipe, some_hooks(publish=publish))
        assert [record["round"] for record in folder.rounds()] == [1, 2, 3, 4]
        # A round that was released before the cut is the same after it: one noise, one sum.
        for number, versions in Counter(number for number, _ in set(released)).items():
            assert versions == 1, number
        events = read_events(folder.ledger)
        assert max(participations(events).values()) <= recipe.plan.limits.cap
        # What every client paid for, the server's ledger holds: no attempt is charged in part.
        for token in {event["token"] for event in events if event["kind"] != "popularity"}:
            charged = {event["kind"]: event["participants"] for event in events if event["token"] == token}
            assert charged["update"] == charged["metrics"]
    assert at > 30


def test_interruptions_are_within_the_lifetime_budget(tmp_path, monkeypatch):
    plan = a_central_plan(cap=9, noise_multiplier=4.0)
    spent = composed_epsilon(plan.spends(2), 1e-6)
    recipe = a_recipe(plan, budget=Budget(epsilon=spent, delta=1e-6, earlier=(plan.participation,)))
    for _ in range(3):
        with monkeypatch.context() as patch, suppress(PowerCutError):
            cut_at_write(patch, "noise.bin")
            run(tmp_path, Crowd(), recipe)
    _, folder = run(tmp_path, Crowd(), recipe)
    # One participation before this run and one lost attempt are the whole budget: the round is dropped.
    assert max(participations(read_events(folder.ledger)).values()) == 1
    assert folder.rounds()[0]["replies"] == 0


def test_no_two_attempts_share_a_token(tmp_path):
    tokens = []
    for name in ("one", "set back"):
        engine = Crowd()
        run(tmp_path / name, engine, a_recipe(rounds=3))
        tokens += [instruction.token for instruction, _ in engine.asked]
    assert len(set(tokens)) == 6


@pytest.mark.parametrize(
    "lost", [["state.safetensors"], ["state.safetensors", "noise.bin", "pending.json"], ["noise.bin"]]
)
def test_a_run_that_was_set_back_does_not_go_on(tmp_path, lost):
    run(tmp_path, Crowd(), a_recipe(rounds=3))
    for name in lost:
        (tmp_path / "run" / name).unlink()
    engine = Crowd()
    with pytest.raises(VerificationError):
        run(tmp_path, engine, a_recipe(rounds=4))
    assert not engine.asked


def test_one_round_that_lost_its_state_and_noise_is_not_released_again(tmp_path):
    run(tmp_path, Crowd(), a_recipe(rounds=1))
    for name in ("state.safetensors", "noise.bin", "pending.json"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(VerificationError, match=r"noise\.bin|no noise state"):
        run(tmp_path, Crowd(), a_recipe(rounds=1))


@pytest.mark.parametrize("content", ['{"round": 2}', '{"round": 2, "token": 7, "cohort": []}', "[" * 200_000])
def test_a_damaged_cohort_is_one_refusal(tmp_path, content):
    run(tmp_path, Crowd(), a_recipe(rounds=1))
    (tmp_path / "run" / "pending.json").write_text(content)
    with pytest.raises(VerificationError, match=r"pending\.json is damaged"):
        run(tmp_path, Crowd(), a_recipe(rounds=2))


def test_a_kept_round_is_what_was_kept_whatever_its_cohort_file_says(tmp_path):
    def power_cut(state, _):
        if state.round:
            raise PowerCutError

    released = []
    with suppress(PowerCutError):
        run(tmp_path, Crowd(), a_recipe(), some_hooks(publish=power_cut))
    (tmp_path / "run" / "pending.json").write_text('{"round": 1, "token": "other", "cohort": [0]}')
    state, _ = run(tmp_path, Crowd(), a_recipe(), some_hooks(publish=lambda state, _: released.append(state)))
    assert state.adapter[0] == pytest.approx(0.5, abs=2.0)
    assert len(read_events(tmp_path / "run" / "ledger.jsonl")) == 1


def test_a_lost_prior_stops_a_run_that_has_begun(tmp_path):
    run(tmp_path, Crowd(), a_recipe(POPULAR, rounds=1))
    (tmp_path / "run" / "prior.safetensors").unlink()
    with pytest.raises(VerificationError, match="popularity"):
        run(tmp_path, Crowd(), a_recipe(POPULAR, rounds=2))


def test_a_ledger_whose_seal_is_gone_stops_the_run(tmp_path):
    _, folder = run(tmp_path, Crowd(), a_recipe(rounds=2))
    folder.seal.unlink()
    with pytest.raises(VerificationError, match="is missing"):
        run(tmp_path, Crowd(), a_recipe(rounds=3))


def test_a_lost_noise_key_stops_the_run(tmp_path):
    run(tmp_path, Crowd(), a_recipe(rounds=2))
    (tmp_path / "run" / "noise.key").unlink()
    with pytest.raises(VerificationError, match=r"noise\.key is missing"):
        run(tmp_path, Crowd(), a_recipe(rounds=3))


def test_an_older_noise_state_stops_the_run(tmp_path):
    run(tmp_path, Crowd(), a_recipe(CORRELATED, rounds=1))
    older = (tmp_path / "run" / "noise.bin").read_bytes()
    run(tmp_path, Crowd(8), a_recipe(CORRELATED, rounds=3))
    (tmp_path / "run" / "noise.bin").write_bytes(older)
    with pytest.raises(VerificationError, match="noise of round 1"):
        run(tmp_path, Crowd(8), a_recipe(CORRELATED, rounds=4))


def test_correlated_noise_is_entered_with_its_bands_and_clients_rest(tmp_path):
    engine = Crowd(12)
    _, folder = run(tmp_path, engine, a_recipe(CORRELATED, rounds=6))
    events = read_events(folder.ledger)
    assert {(event["bands"], event["separation"]) for event in events} == {(3, 3)}
    rounds = {client: [e["round"] for e in events if client in e["participants"]] for client in range(12)}
    assert all(np.diff(taken).min(initial=3) >= 3 for taken in rounds.values())
    assert [len(cohort) for _, cohort in engine.asked] == [4] * 6


def test_popularity_is_asked_once_paid_for_and_travels_with_every_instruction(tmp_path):
    told = []
    engine = Crowd()
    run(tmp_path, engine, a_recipe(POPULAR, rounds=2), some_hooks(prior=told.append))
    _, folder = run(tmp_path, engine, a_recipe(POPULAR, rounds=3), some_hooks(prior=told.append))
    assert [instruction.task for instruction, _ in engine.asked] == ["popularity", "update", "update", "update"]
    assert engine.asked[0][1] == [0, 1, 2, 3]
    assert all(np.array_equal(instruction.prior, told[0]) for instruction, _ in engine.asked[1:])
    assert np.array_equal(told[0], told[1])
    event = read_events(folder.ledger)[0]
    assert (event["kind"], event["released"], event["noise_multiplier"], event["clip_norm"]) == (
        "popularity",
        "popularity",
        1.0,
        1.0,
    )


def test_popularity_is_the_noised_count_on_a_log_scale(tmp_path):
    told = []
    run(tmp_path, Crowd(8), a_recipe(POPULAR, noise="seeded", cohort=4), some_hooks(prior=told.append))
    noise = noise_source("seeded", 1, "server", "popularity").gaussian(CATALOGUE, noise_std=1.0)
    assert told[0] == pytest.approx(np.log1p(np.maximum(0, 1 + noise)), rel=1e-5)


def test_popularity_that_was_paid_for_and_lost_is_not_asked_for_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, suppress(PowerCutError):
        cut_at_write(patch, "prior.safetensors")
        run(tmp_path, Crowd(), a_recipe(POPULAR))
    again, told = Crowd(), []
    _, folder = run(tmp_path, again, a_recipe(POPULAR), some_hooks(prior=told.append))
    assert [instruction.task for instruction, _ in again.asked] == ["update"]
    assert not told[0].any()
    assert sum(event["kind"] == "popularity" for event in read_events(folder.ledger)) == 1


def test_metrics_reach_the_server_through_a_charged_release_alone(tmp_path):
    _, folder = run(tmp_path, Crowd(), a_recipe(MEASURED, noise="seeded"))
    update, metrics = read_events(folder.ledger)
    assert (update["kind"], metrics["kind"], metrics["noise_multiplier"], metrics["clip_norm"]) == (
        "update",
        "metrics",
        4.0,
        1.0,
    )
    assert update["participants"] == metrics["participants"]
    _, plain = run(tmp_path / "plain", Crowd(), a_recipe())
    assert plain.rounds()[0]["released_metrics"] is None
    assert "released_metrics" in folder.rounds()[0]


def test_released_metrics_are_means_with_the_noise_that_is_on_them(tmp_path):
    many = Crowd(400)
    _, folder = run(tmp_path, many, a_recipe(MEASURED, cohort=400))
    found = folder.rounds()[0]["released_metrics"]
    assert set(found) == {"loss", "hit_rate@10", "clip_fraction"}
    for metric in ("hit_rate@10", "clip_fraction"):
        # Every client says 1; the noise is 4 * 2 / 400 on the sum's mean.
        assert found[metric]["value"] == pytest.approx(1.0, abs=0.15)
        assert found[metric]["noise_std"] == pytest.approx(4 * 2 / 400, rel=0.2)


def test_a_ledger_holds_no_hash_of_an_update_without_noise(tmp_path):
    _, folder = run(tmp_path, Crowd(), a_recipe(MEASURED, rounds=2))
    assert {digest for event in read_events(folder.ledger) for digest in event["replies"].values()} == {""}


def test_a_device_that_forgot_what_it_spent_is_stopped_by_the_servers_count(tmp_path):
    # These toys keep no ledger at all, as if each were restored from a backup before every round.
    plan = a_central_plan(cap=2)
    engine = Crowd(3)
    _, folder = run(tmp_path, engine, a_recipe(plan, rounds=4, cohort=3))
    assert [len(cohort) for _, cohort in engine.asked] == [3, 3, 0, 0]
    assert participations(read_events(folder.ledger)) == dict.fromkeys(range(3), 2)


def test_clients_rest_under_independent_noise_too_where_the_plan_counts_on_it(tmp_path):
    plan = a_central_plan(separation=3, cap=40)
    _, folder = run(tmp_path, Crowd(12), a_recipe(plan, rounds=6))
    assert max(participations(read_events(folder.ledger)).values()) <= 2


def test_the_sealed_head_is_the_last_entry(tmp_path):
    _, folder = run(tmp_path, Crowd(), a_recipe(rounds=3))
    assert json.loads(folder.seal.read_text())["head"] == ledger_head(folder.ledger)


def test_a_run_does_not_go_on_with_a_chain_that_was_written_anew(tmp_path):
    _, folder = run(tmp_path, Crowd(), a_recipe(rounds=2))
    other, forged = run(tmp_path / "other", Crowd(3), a_recipe(rounds=2, cohort=3))
    folder.ledger.write_bytes(forged.ledger.read_bytes())
    with pytest.raises(VerificationError, match="cut off or rewritten"):
        run(tmp_path, Crowd(), a_recipe(rounds=3))
    assert other.round == 2


def test_a_run_goes_on_after_two_power_cuts_before_its_first_seals(tmp_path):
    """An entry is on the disk before its seal: whoever opens the ledger next seals it."""
    for _ in range(2):
        sealed = Seal.__call__
        calls = iter((sealed, cut))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCutError):
            patch.setattr(Seal, "__call__", lambda seal, head, calls=calls: next(calls)(seal, head))
            run(tmp_path, Crowd(), a_recipe())
    state, folder = run(tmp_path, Crowd(), a_recipe())
    assert (state.round, len(read_events(folder.ledger))) == (1, 3)


def cut(*_):
    raise PowerCutError


def test_a_round_that_few_were_there_for_is_a_small_step_and_no_loud_one(tmp_path):
    few, _ = run(tmp_path, Crowd(1), a_recipe(replace(PLAN, noise_multiplier=1e-6), noise="seeded", cohort=100))
    assert few.adapter[0] == pytest.approx(0.5 / 100, abs=1e-5)
