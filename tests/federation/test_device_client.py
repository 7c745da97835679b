"""A device in a federation: pays from its own store, computes in numpy, obeys its owner."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.events import Kind
from fedrec.data.store.store import Store
from fedrec.errors import BudgetError, DataError, LayoutError, RefusedError
from fedrec.federation.device_client import device_client
from fedrec.model.linear import released_layout
from fedrec.ondevice.device_state import DeviceState
from fedrec.ondevice.participation import opt_in, opt_out
from fedrec.ondevice.privacy_facts import privacy_facts
from fedrec.ondevice.releases import active, install
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.plan import PopularityRelease
from fedrec.privacy_config import BudgetConfig
from fedrec.training.client import Instruction, Reply
from tests.private_devices import CENTRAL, a_base, a_device, a_release, an_event
from tests.small_worlds import ITEMS, a_plan

READY = DeviceState(idle=True, charging=True, unmetered=True)
DAY = 86_400


def a_willing_device(folder: Path, *, plan=CENTRAL, events: int = 6, **release) -> tuple[Path, Store]:
    """A device whose owner agreed and did something with a few items."""
    device = a_device(folder, a_release(folder, plan=plan, **release))
    store = Store.open(device)
    for number in range(events):
        store.add_event(an_event(number * 3, time=1_700_000_000 + number * DAY))
    opt_in(store, active(device).manifest, now=0.0)
    return device, store


def an_instruction(device: Path, **changes) -> Instruction:
    layout = released_layout(active(device).manifest)
    given = {
        "run": "run",
        "round": 1,
        "token": "token-1",
        "adapter": np.zeros(layout.size, np.float32),
        "layout": layout.hash,
        "plan": CENTRAL,
        "negatives_seed": 0,
    }
    return Instruction(**{**given, **changes})


def answer(device: Path, store: Store, *, state: DeviceState = READY, **changes) -> Reply:
    return device_client(device, store, number=3, state=state).reply(an_instruction(device, **changes))


def test_a_device_sends_one_clipped_vector_and_pays_for_it_first(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    reply = answer(device, store)
    assert reply.client == 3
    assert reply.attempts == 1
    assert 0 < np.linalg.norm(reply.update) <= CENTRAL.clip_norm * (1 + 1e-6)
    (event,) = read_device_events(store)
    assert (event["kind"], event["round"], event["bytes"]) == ("update", 1, 4 * len(reply.update))


def test_the_same_question_gets_the_same_bytes_after_a_restart_and_costs_once(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    first = answer(device, store).update
    store.add_event(an_event(20))
    store.close()
    with Store.open(device) as again:
        assert answer(device, again).update.tobytes() == first.tobytes()
        assert len(read_device_events(again)) == 1


def test_a_device_whose_owner_said_no_answers_nothing(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    opt_out(store)
    with pytest.raises(RefusedError):
        answer(device, store)
    assert not read_device_events(store)


def test_a_device_on_battery_does_not_train(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    with pytest.raises(RefusedError, match="charging"):
        answer(device, store, state=replace(READY, charging=False))
    assert not read_device_events(store)


@pytest.mark.parametrize(
    "hostile",
    [
        {"plan": replace(CENTRAL, noise_multiplier=0.01)},
        {"plan": replace(CENTRAL, clip_norm=50.0)},
        {"plan": None},
        {"plan": a_plan()},
        {"task": "popularity"},
        {"adapter": "huge"},
    ],
)
def test_a_server_that_asks_for_more_than_was_agreed_is_refused_and_nothing_is_spent(tmp_path, hostile) -> None:
    device, store = a_willing_device(tmp_path)
    if hostile.get("adapter"):
        hostile = {"adapter": np.full(released_layout(active(device).manifest).size, 1e7, np.float32)}
    with pytest.raises(RefusedError):
        answer(device, store, **hostile)
    assert not read_device_events(store)


def test_a_server_with_another_base_model_is_refused(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    with pytest.raises(LayoutError):
        answer(device, store, layout="0" * 64)


def test_a_new_release_with_another_plan_needs_a_new_yes(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    weaker = replace(CENTRAL, noise_multiplier=1.0)
    install(device, a_release(tmp_path, round_number=1, plan=weaker, moved=0.1))
    with pytest.raises(RefusedError, match="plan"):
        answer(device, store, plan=weaker)
    opt_in(store, active(device).manifest, now=1.0)
    assert answer(device, store, plan=weaker).update is not None


def test_the_devices_own_budget_holds_over_runs_and_restarts(tmp_path) -> None:
    device, store = a_willing_device(tmp_path, budget=BudgetConfig(epsilon=3.5))
    # Noise 2 at delta 1e-6: epsilon 2.25 for one round, 3.31 for two, 4.15 for three.
    for number in (1, 2):
        answer(device, store, round=number, token=f"token-{number}")
    store.close()
    with Store.open(device) as again, pytest.raises(BudgetError):
        answer(device, again, run="another run", round=1, token="token-3")  # noqa: S106


def test_a_yes_that_is_taken_back_while_the_device_trains_holds_for_that_round(tmp_path) -> None:
    for change in (opt_out, Store.erase):
        folder = tmp_path / change.__name__
        folder.mkdir()
        device, store = a_willing_device(folder)
        client = device_client(device, store, number=3, state=READY)

        def examples(client=client, store=store, change=change):
            change(store)
            return client.examples()

        reply = replace(client, examples=examples).reply(an_instruction(device))
        assert (reply.update, reply.code, reply.attempts) == (None, "RefusedError", 1)
        assert store.blob_sizes() == {}


def test_a_text_that_the_encoder_fails_at_is_answered_like_any_other_round(tmp_path, monkeypatch) -> None:
    device, store = a_willing_device(tmp_path)

    def fails(*_):
        raise DataError("The encoder failed at a text.")

    monkeypatch.setattr("fedrec.federation.device_client.own_history", fails)
    reply = answer(device, store)
    assert reply.code == ""
    assert not reply.update.any()
    assert len(read_device_events(store)) == 1


def test_what_is_refused_is_refused_before_anything_private_is_read(tmp_path, monkeypatch) -> None:
    device, store = a_willing_device(tmp_path)
    read = []
    monkeypatch.setattr("fedrec.federation.device_client.own_history", lambda *_: read.append(1))
    with pytest.raises(RefusedError):
        answer(device, store, plan=replace(CENTRAL, noise_multiplier=0.5))
    assert not read


def test_an_old_yes_does_not_hold_under_a_release_with_another_plan(tmp_path) -> None:
    for number, plan in enumerate((replace(CENTRAL, noise_multiplier=4.0), None), start=1):
        folder = tmp_path / str(number)
        folder.mkdir()
        device, store = a_willing_device(folder)
        install(device, a_release(folder, round_number=1, plan=plan, moved=0.1))
        with pytest.raises(RefusedError, match="another privacy plan"):
            answer(device, store)


def test_a_laxer_delta_makes_nothing_look_unspent(tmp_path) -> None:
    device, store = a_willing_device(tmp_path, budget=BudgetConfig(epsilon=3.0))
    answer(device, store)
    spent = privacy_facts(store).epsilon
    lax = replace(CENTRAL, delta=1e-4)
    install(device, a_release(tmp_path, round_number=1, plan=lax, moved=0.1, budget=BudgetConfig(epsilon=3.0)))
    opt_in(store, active(device).manifest, now=1.0)
    assert privacy_facts(store).epsilon == spent
    with pytest.raises(BudgetError):
        answer(device, store, plan=lax, token="token-2")  # noqa: S106


def test_a_person_without_events_sends_zeros_and_pays_all_the_same(tmp_path) -> None:
    device, store = a_willing_device(tmp_path, events=0)
    assert not answer(device, store).update.any()
    assert len(read_device_events(store)) == 1


def test_erasing_keeps_the_ledger_and_takes_back_the_yes(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    answer(device, store)
    store.erase()
    assert len(read_device_events(store)) == 1
    with pytest.raises(RefusedError):
        answer(device, store, round=2, token="token-2")  # noqa: S106


def test_the_update_is_the_one_that_torch_computes_from_the_same_events(tmp_path) -> None:
    from fedrec.data.entries import PositiveRule, history_of, kind_weights
    from fedrec.training.contribution import clipped_update
    from fedrec.training.examples import Shape, examples_of
    from fedrec.training.learner import LocalTask
    from fedrec.training.local import TorchLearner
    from tests.private_devices import TRAINING

    device, store = a_willing_device(tmp_path)
    sent = answer(device, store).update
    model, _ = a_base()
    events = [each.event for each in store.events()]
    rows = np.array([int(event.item_id[1:]) for event in events])
    history = history_of(events, rows, rule=PositiveRule(), weights=kind_weights({}))
    examples = examples_of([history], model.base.tower, Shape(positions=8, window=50), items=ITEMS)
    task = LocalTask(adapter=np.zeros(model.layout.size, np.float32), negatives_seed=0)
    expected = clipped_update(TorchLearner(model), examples, task, TRAINING, CENTRAL)
    # The device holds int8 vectors: near the float16 ones, not the same.
    assert sent @ expected / np.linalg.norm(sent) / np.linalg.norm(expected) > 0.999


def test_local_mode_trains_with_opacus_on_the_device(tmp_path) -> None:
    plan = a_plan(unit="SEGMENT")
    device, store = a_willing_device(tmp_path, plan=plan)
    reply = answer(device, store, plan=plan)
    assert np.abs(reply.update).min() > 0
    (event,) = read_device_events(store)
    assert (event["mode"], event["unit"], event["guarantee"]) == ("local", "SEGMENT", True)
    words = privacy_facts(store).words
    assert "any one of the fixed stretches" in words
    assert "adds up to more" in words


def test_a_popularity_vector_is_paid_for_once_and_its_size_is_told(tmp_path) -> None:
    plan = replace(CENTRAL, popularity=PopularityRelease(items=3, noise_multiplier=4.0))
    device, store = a_willing_device(tmp_path, plan=plan)
    reply = answer(device, store, plan=plan, task="popularity")
    assert np.count_nonzero(reply.update) == 3
    assert [upload.bytes for upload in privacy_facts(store).uploads] == [4 * ITEMS]
    with pytest.raises(BudgetError):
        answer(device, store, plan=plan, task="popularity", token="token-2")  # noqa: S106


def test_searches_are_left_out_where_texts_cannot_be_read(tmp_path) -> None:
    device, store = a_willing_device(tmp_path)
    with_search, without = tmp_path / "a", answer(device, store).update
    with_search.mkdir()
    other, other_store = a_willing_device(with_search)
    other_store.add_event(an_event(None, kind=Kind.SEARCH, text="crime at sea"))
    np.testing.assert_array_equal(answer(other, other_store).update, without)


def test_the_owner_can_read_what_was_spent(tmp_path) -> None:
    device, store = a_willing_device(tmp_path, budget=BudgetConfig(epsilon=5.0))
    assert privacy_facts(store).words == "Nothing about you has left this device."
    answer(device, store)
    facts = privacy_facts(store)
    assert facts.participations == 1
    assert facts.exact
    assert 0 < facts.epsilon <= facts.budget == 5.0
    assert "once" in facts.words
    assert facts.uploads[0].bytes == 4 * released_layout(active(device).manifest).size
