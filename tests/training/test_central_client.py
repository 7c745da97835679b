from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from fedrec.errors import BudgetError, RefusedError
from fedrec.privacy.budget import Budget
from fedrec.privacy.ledger import read_events
from fedrec.privacy.plan import PopularityRelease
from fedrec.training.contribution import metrics_of, popularity_vector
from fedrec.training.examples import Shape, examples_of
from fedrec.training.learner import LocalTask
from fedrec.training.local import TorchLearner, local_update
from tests.small_worlds import ITEMS, a_central_plan, a_history, a_model
from tests.training.clients import TRAINING, a_client, an_instruction, hub_examples

PLAN = a_central_plan(clip_norm=0.01, cap=3)
POPULAR = replace(PLAN, popularity=PopularityRelease(items=4, noise_multiplier=2.0))
NOON = datetime(2026, 3, 30, 12, tzinfo=UTC).timestamp()
DAY = 86_400


@pytest.fixture(scope="module")
def model():
    return a_model({"history_proj": 4})


def ask(client, model, number=1, *, plan=PLAN, **changes):
    return client.reply(an_instruction(model, plan=plan, round=number, token=f"token-{number}", **changes))


def test_it_sends_its_whole_update_at_the_clip_norm(tmp_path, model):
    sent = ask(a_client(3, tmp_path, model, plan=PLAN), model).update
    task = LocalTask(adapter=np.zeros(model.layout.size, np.float32), negatives_seed=0)
    plain = local_update(model, hub_examples(model, 3), task, TRAINING)
    assert np.linalg.norm(plain) > 0.01
    assert sent == pytest.approx(plain * (0.01 / np.linalg.norm(plain)), rel=1e-4)


def test_a_small_update_is_sent_as_it_is(tmp_path, model):
    wide = replace(PLAN, clip_norm=1e3)
    sent = ask(a_client(3, tmp_path, model, plan=wide), model, plan=wide).update
    task = LocalTask(adapter=np.zeros(model.layout.size, np.float32), negatives_seed=0)
    assert sent == pytest.approx(local_update(model, hub_examples(model, 3), task, TRAINING), rel=1e-5)


def test_without_data_or_with_a_fault_it_sends_zeros_of_the_same_size(tmp_path, model):
    def fault():
        raise ValueError("a title")

    for name, examples in (("none", list), ("fault", fault)):
        reply = ask(a_client(3, tmp_path / name, model, plan=PLAN, examples=examples), model)
        assert (reply.code, reply.update.shape, reply.update.any()) == ("", (model.layout.size,), False)


def test_its_ledger_names_the_run_the_time_and_the_kind(tmp_path, model):
    client = a_client(3, tmp_path, model, plan=PLAN, now=lambda: NOON)
    ask(client, model)
    (event,) = read_events(client.records.ledger)
    assert (event["kind"], event["mode"], event["run"], event["time"]) == ("update", "central", "run", int(NOON))
    assert (event["clip_norm"], event["noise_multiplier"], event["guarantee"]) == (0.01, 1.0, None)


def test_at_its_cap_it_refuses_a_new_run_a_new_plan_and_after_a_restart(tmp_path, model):
    for number in (1, 2, 3):
        ask(a_client(3, tmp_path, model, plan=PLAN), model, number)
    restarted = a_client(3, tmp_path, model, plan=PLAN)
    for changes in ({}, {"run": "another run"}):
        with pytest.raises(BudgetError, match="3 times, its cap"):
            ask(restarted, model, 4, **changes)
    with pytest.raises(RefusedError):
        ask(restarted, model, 4, plan=replace(PLAN, limits=replace(PLAN.limits, cap=99)))
    assert len(read_events(restarted.records.ledger)) == 3


def test_erasing_its_data_keeps_what_it_has_spent(tmp_path, model):
    client = a_client(3, tmp_path, model, plan=PLAN)
    for number in (1, 2, 3):
        ask(client, model, number)
    client.records.erase()
    assert client.records.reply("token-3") is None
    with pytest.raises(BudgetError):
        ask(client, model, 4)


@pytest.mark.parametrize("bands", [1, 3])
def test_it_rests_between_two_rounds_of_a_run(tmp_path, model, bands):
    plan = a_central_plan(bands=bands, separation=3, cap=9)
    client = a_client(3, tmp_path, model, plan=plan)
    ask(client, model, 5, plan=plan)
    for number in (3, 6, 7):
        with pytest.raises(BudgetError, match="every 3 rounds"):
            ask(client, model, number, plan=plan)
    assert ask(client, model, 8, plan=plan).update is not None
    assert ask(client, model, 9, plan=plan, run="another run").update is not None


def test_a_lifetime_epsilon_is_never_passed(tmp_path, model):
    plan = a_central_plan(noise_multiplier=4.0, cap=99)
    budget = Budget(epsilon=2.0, delta=1e-6)
    client = a_client(3, tmp_path, model, plan=plan, budget=budget)
    taken = 0
    with pytest.raises(BudgetError, match="over its lifetime budget of 2"):
        for taken in range(99):
            ask(client, model, taken, plan=plan)
    assert 1 <= taken < 10
    assert len(read_events(client.records.ledger)) == taken
    looser = a_client(3, tmp_path, model, plan=plan, budget=Budget(epsilon=None, delta=1e-6))
    assert ask(looser, model, 50, plan=plan).update is not None


def test_rate_limits_are_by_day_and_month_and_a_clock_set_back_opens_nothing(tmp_path, model):
    plan = a_central_plan(cap=99)
    budget = Budget(epsilon=None, delta=1e-6, per_day=2, per_month=3)

    def at(time, number):
        client = a_client(3, tmp_path, model, plan=plan, budget=budget, now=lambda: time)
        return ask(client, model, number, plan=plan)

    at(NOON - DAY, 1)
    at(NOON, 2)
    at(NOON, 3)
    with pytest.raises(BudgetError, match="2 times in the day"):
        at(NOON, 4)
    with pytest.raises(BudgetError, match="2 times in the day"):
        at(NOON - 0.4 * DAY, 4)
    with pytest.raises(BudgetError, match="3 times in the month"):
        at(NOON + DAY, 4)
    assert at(NOON + 2 * DAY, 4).update is not None


def test_a_rate_limit_counts_participations_and_not_what_they_release(tmp_path, model):
    plan = a_central_plan(cap=9, metrics_noise=9.0, popularity=PopularityRelease(items=4, noise_multiplier=9.0))
    budget = Budget(epsilon=None, delta=1e-6, per_day=2)
    client = a_client(3, tmp_path, model, plan=plan, budget=budget, now=lambda: NOON)
    ask(client, model, 0, plan=plan, task="popularity")
    ask(client, model, 1, plan=plan)
    assert ask(client, model, 2, plan=plan).update is not None
    with pytest.raises(BudgetError, match="2 times in the day"):
        ask(client, model, 3, plan=plan)


def test_what_was_spent_before_counts_against_its_lifetime_budget(tmp_path, model):
    plan = a_central_plan(noise_multiplier=4.0, cap=9)
    budget = Budget(epsilon=2.0, delta=1e-6, earlier=(plan.participation,) * 9)
    with pytest.raises(BudgetError, match="lifetime budget"):
        ask(a_client(3, tmp_path, model, plan=plan, budget=budget), model, plan=plan)


def test_it_gives_popularity_once_in_its_life(tmp_path, model):
    client = a_client(3, tmp_path, model, plan=POPULAR)
    sent = ask(client, model, 0, plan=POPULAR, task="popularity").update
    assert sent.shape == (ITEMS,)
    assert 0 < np.linalg.norm(sent) <= 1 + 1e-6
    with pytest.raises(BudgetError):
        ask(client, model, 1, plan=POPULAR, task="popularity", run="another run")
    assert ask(client, model, 2, plan=POPULAR).update is not None


def test_popularity_outside_the_plan_is_refused(tmp_path, model):
    with pytest.raises(RefusedError, match="popularity"):
        ask(a_client(3, tmp_path, model, plan=PLAN), model, task="popularity")


def test_popularity_counts_the_latest_distinct_positives_alike(model):
    history = a_history([9, 1, 2, 3, 2, 1, 5])
    examples = examples_of([history], model.base.tower, Shape(positions=50, window=50), items=ITEMS)
    vector = popularity_vector(examples, catalogue=ITEMS, items=3)
    assert np.flatnonzero(vector).tolist() == [2, 3, 5] or np.flatnonzero(vector).tolist() == [1, 2, 5]
    assert vector[vector > 0] == pytest.approx(np.full(3, 3**-0.5))


def test_metrics_have_norm_at_most_one_and_are_zeros_without_data(model):
    examples = hub_examples(model, 3)
    for clipped in (0.0, 1.0):
        values = metrics_of(TorchLearner(model), examples, model.flatten(), clipped=clipped)
        assert np.linalg.norm(values) <= 1
        assert (values[2] * 2, values[3] * 2) == (clipped, 1.0)
    assert not metrics_of(TorchLearner(model), [], model.flatten(), clipped=0.0).any()


def test_metrics_travel_behind_the_update_and_are_paid_for_apart(tmp_path, model):
    plan = replace(PLAN, metrics_noise=4.0)
    client = a_client(3, tmp_path, model, plan=plan)
    sent = ask(client, model, plan=plan).update
    assert sent.shape == (model.layout.size + 4,)
    assert [event["kind"] for event in read_events(client.records.ledger)] == ["update", "metrics"]
    assert ask(client, model, plan=plan).update.tobytes() == sent.tobytes()


@pytest.mark.parametrize("prior", [np.zeros(3, np.float32), np.full(ITEMS, np.nan, np.float32)])
def test_a_prior_that_does_not_fit_is_refused_before_anything_is_spent(tmp_path, model, prior):
    from fedrec.errors import UnsafeUpdateError

    client = a_client(3, tmp_path, model, plan=PLAN)
    with pytest.raises(UnsafeUpdateError):
        ask(client, model, prior=prior)
    assert not read_events(client.records.ledger)
