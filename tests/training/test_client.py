from dataclasses import replace

import numpy as np
import pytest

from fedrec.errors import BudgetError, LayoutError, RefusedError, UnsafeUpdateError
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.randomness import system_source
from fedrec.privacy.spends import GaussianSpend
from fedrec.training.client_records import FolderRecords
from tests.small_worlds import a_model, a_plan
from tests.training.clients import PLAN, a_client, an_instruction


class PowerCutError(BaseException):
    """The device went off; no part of the product knows this."""


@pytest.fixture(scope="module")
def model():
    return a_model({"history_proj": 4})


def spent(client):
    return read_events(client.records.ledger)


def test_a_reply_is_one_vector_of_fixed_size_and_nothing_on_what_people_did(tmp_path, model):
    client = a_client(3, tmp_path, model)
    reply = client.reply(an_instruction(model))
    assert (reply.client, reply.code, reply.attempts) == (3, "", 1)
    assert reply.update.shape == (model.layout.size,)
    assert reply.update.dtype == np.float32


def test_what_was_spent_is_written_as_an_event_that_can_be_accounted(tmp_path, model):
    client = a_client(3, tmp_path, model)
    client.reply(an_instruction(model))
    (event,) = spent(client)
    assert GaussianSpend.from_event(event) == PLAN.participation
    assert (event["unit"], event["clip_norm"], event["round"], event["token"]) == ("USER", 0.5, 1, "token-1")
    assert event["guarantee"] is False
    assert "epsilon" not in event


def test_secret_noise_is_recorded_as_a_guarantee(tmp_path, model):
    client = a_client(3, tmp_path, model, source_for=lambda _: system_source())
    client.reply(an_instruction(model))
    assert spent(client)[0]["guarantee"] is True


def test_it_pays_before_it_looks_at_its_data(tmp_path, model):
    seen = []

    def examples():
        seen.extend(spent(client))
        return []

    client = a_client(3, tmp_path, model, examples=examples)
    client.reply(an_instruction(model))
    assert len(seen) == 1


def test_a_stored_reply_is_sent_again_byte_for_byte_and_counts_once(tmp_path, model):
    # Secret noise: a second training could not give the same bytes.
    client = a_client(3, tmp_path, model, source_for=lambda _: system_source())
    first = client.reply(an_instruction(model))
    restarted = a_client(3, tmp_path, model, source_for=lambda _: system_source())
    for again in (client.reply(an_instruction(model)), restarted.reply(an_instruction(model))):
        assert again.update.tobytes() == first.update.tobytes()
        assert again.attempts == 1
    assert len(spent(client)) == 1


def test_another_adapter_for_the_same_round_gets_the_stored_reply_too(tmp_path, model):
    client = a_client(3, tmp_path, model, source_for=lambda _: system_source())
    first = client.reply(an_instruction(model))
    other = an_instruction(model, adapter=np.ones(model.layout.size, np.float32))
    assert client.reply(other).update.tobytes() == first.update.tobytes()
    assert len(spent(client)) == 1


def test_a_stored_reply_is_readable_by_its_owner_alone(tmp_path, model):
    a_client(3, tmp_path, model).reply(an_instruction(model))
    assert (tmp_path / "reply.bin").stat().st_mode & 0o077 == 0


def test_training_that_was_interrupted_after_paying_is_paid_for_again(tmp_path, model):
    def cut():
        raise PowerCutError

    with pytest.raises(PowerCutError):
        a_client(3, tmp_path, model, examples=cut).reply(an_instruction(model))
    client = a_client(3, tmp_path, model)
    reply = client.reply(an_instruction(model))
    assert reply.attempts == 2
    assert [event["attempt"] for event in spent(client)] == [1, 2]
    assert client.reply(an_instruction(model)).attempts == 2
    assert len(spent(client)) == 2


@pytest.mark.parametrize("fault", [UnsafeUpdateError, ValueError, MemoryError])
def test_a_fault_after_paying_is_answered_with_noise_alone_as_its_kind_could_tell_of_the_data(tmp_path, model, fault):
    def broken():
        raise fault("at user 17")

    usual, faulty = (
        a_client(3, tmp_path / name, model, **changes).reply(an_instruction(model))
        for name, changes in (("usual", {}), ("faulty", {"examples": broken}))
    )
    assert (faulty.code, faulty.attempts) == (usual.code, usual.attempts) == ("", 1)
    assert faulty.update.shape == usual.update.shape
    assert faulty.update.all()


@pytest.mark.parametrize("entry", [3e38, np.nan])
def test_an_adapter_that_no_training_made_is_refused_before_anything_is_paid(tmp_path, model, entry):
    client = a_client(3, tmp_path, model)
    adapter = np.full(model.layout.size, entry, np.float32)
    with pytest.raises((RefusedError, UnsafeUpdateError)):
        client.reply(an_instruction(model, adapter=adapter))
    assert not spent(client)


@pytest.fixture
def exhausted(tmp_path, model):
    client = a_client(3, tmp_path, model)
    for number in range(PLAN.limits.cap):
        client.reply(an_instruction(model, round=number, token=f"token-{number}"))
    return client


def test_the_cap_refuses_a_new_round_a_new_run_and_a_restarted_client(tmp_path, model, exhausted):
    restarted = a_client(3, tmp_path, model)
    for client in (exhausted, restarted):
        for token in ("token-99", "another run"):
            with pytest.raises(BudgetError, match="5 times, its cap"):
                client.reply(an_instruction(model, round=99, token=token))
    assert len(spent(exhausted)) == 5


def test_at_the_cap_the_last_reply_can_still_be_sent_again(model, exhausted):
    reply = exhausted.reply(an_instruction(model, round=4, token="token-4"))  # noqa: S106
    assert reply.update is not None
    assert len(spent(exhausted)) == 5


def test_an_old_round_asked_for_again_is_a_new_participation(tmp_path, model):
    # Only the last reply is kept; what was replaced would be drawn anew, and is paid for.
    client = a_client(3, tmp_path, model)
    for token in ("token-1", "token-2", "token-1"):
        client.reply(an_instruction(model, token=token))
    assert [event["token"] for event in spent(client)] == ["token-1", "token-2", "token-1"]


def test_interruptions_count_towards_the_cap_and_the_server_is_told_of_them(tmp_path, model):
    def cut():
        raise PowerCutError

    for _ in range(PLAN.limits.cap):
        with pytest.raises(PowerCutError):
            a_client(3, tmp_path, model, examples=cut).reply(an_instruction(model))
    reply = a_client(3, tmp_path, model).reply(an_instruction(model))
    assert (reply.update, reply.code, reply.attempts) == (None, "BudgetError", 5)
    with pytest.raises(BudgetError):
        a_client(3, tmp_path, model).reply(an_instruction(model, token="another"))  # noqa: S106


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"layout": "0" * 64}, LayoutError),
        ({"plan": None}, RefusedError),
        ({"plan": replace(PLAN, noise_multiplier=PLAN.noise_multiplier / 2)}, RefusedError),
        ({"plan": replace(PLAN, clip_norm=50.0)}, RefusedError),
        ({"plan": replace(PLAN, local=replace(PLAN.local, steps=2))}, RefusedError),
        ({"plan": replace(PLAN, limits=replace(PLAN.limits, cap=10**6))}, RefusedError),
    ],
)
def test_a_foreign_layout_or_plan_is_refused_before_anything_is_spent(tmp_path, model, changes, error):
    client = a_client(3, tmp_path, model)
    with pytest.raises(error):
        client.reply(an_instruction(model, **changes))
    assert spent(client) == []
    assert not (tmp_path / "reply.bin").exists()


def test_a_client_without_a_plan_refuses_a_server_that_names_one(tmp_path, model):
    with pytest.raises(RefusedError):
        a_client(3, tmp_path, model, plan=None).reply(an_instruction(model, plan=a_plan()))


def test_a_client_without_a_plan_keeps_no_ledger(tmp_path, model):
    reply = a_client(3, tmp_path, model, plan=None).reply(an_instruction(model, plan=None))
    assert reply.update.any()
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_in_use_is_a_refusal_that_spends_nothing(tmp_path, model):
    client = a_client(3, tmp_path, model)
    with Ledger(client.records.ledger), pytest.raises(RefusedError, match="in use"):
        client.reply(an_instruction(model))
    assert spent(client) == []


def test_a_store_returns_exactly_what_it_kept(tmp_path):
    store = FolderRecords(tmp_path)
    update = np.array([1.5, -0.0, 1e-38, 10.0], np.float32)
    assert store.reply("token") is None
    store.keep("token", update, attempts=3)
    found, attempts = store.reply("token")
    assert (found.tobytes(), attempts) == (update.tobytes(), 3)
    assert store.reply("other") is None
