"""Devices that add up under masks: keys from their stores, peers from a pinned directory that is kept up to date."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.store.store import Store
from fedrec.errors import ProtocolError, RefusedError, UnknownClientError, VerificationError
from fedrec.federation.device_client import device_participant
from fedrec.federation.taking_part import AddingUp
from fedrec.ondevice.device_state import DeviceState
from fedrec.ondevice.directory import LaterDirectory
from fedrec.ondevice.enrolment import enrolment_request, keys_accepted, keys_to_try, pin_directory, pinned_directory
from fedrec.ondevice.participation import Conditions, opt_in, opt_out, set_conditions
from fedrec.ondevice.releases import active
from fedrec.privacy.device_ledger import read_device_events
from fedrec.secagg.planned import secure_sum_for
from fedrec.secagg.terms import Stage
from tests.federation.people import PLAN, READY, People, a_server_of_releases
from tests.private_devices import a_device, a_release


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path)


def identity_key(device: Path, store: Store) -> str:
    """By which a device signs in sums."""
    return device_participant(device, store, state=READY).identity.public_key().public_bytes_raw().hex()


def test_devices_that_start_anew_for_every_message_add_up_and_pay_once_each(people: People) -> None:
    people.pin(people.document())
    server = people.server()
    for stage in Stage:
        for client, request in server.requests().items():
            device = people.devices[client - 10]
            with Store.open(device) as store:
                participant = device_participant(device, store, state=READY)
                reply = participant.answer(people.instruction(), stage, request)
            assert (reply.client, reply.code) == (client, "")
            server.accept(client, reply.answer)
        server.close()
    found, masking = server.result(), people.masking()
    assert found.survivors == (10, 11, 12)
    total = masking.ring.decode(found.words)
    # Three shares of noise, each of a variance of which two make the plan's: one device may know its own.
    # Of so few numbers the spread is off by more than six of its own standard deviations once in 10^9.
    planned = PLAN.clip_norm * PLAN.noise_multiplier * math.sqrt(3 / 2)
    assert np.std(total) == pytest.approx(planned, rel=6 / math.sqrt(2 * len(total)))
    for device in people.devices:
        with Store.open(device) as store:
            assert [event["token"] for event in read_device_events(store)] == ["token"]


def test_a_device_that_its_directory_does_not_name_takes_no_part_in_sums(people: People) -> None:
    device = people.devices[2]
    with Store.open(device) as store:
        with pytest.raises(UnknownClientError, match="does not name it"):
            device_participant(device, store, state=READY)
        pin_directory(store, people.document(known=2))
        with pytest.raises(UnknownClientError, match="does not name it"):
            device_participant(device, store, state=READY)


def test_a_device_whose_owner_said_no_does_not_say_which_keys_it_has(people: People) -> None:
    people.pin(people.document())
    with Store.open(people.devices[0]) as store:
        opt_out(store)
        with pytest.raises(RefusedError, match="opt-in"):
            device_participant(people.devices[0], store, state=READY)


@pytest.mark.parametrize("change", [{"least_honest": 3}, {"steps": 1}, {"total_variation": 1e-12}, {"norm": 1.0}])
def test_numbers_of_a_sum_that_its_rates_do_not_give_are_not_agreed_to(
    tmp_path: Path, change: dict[str, float]
) -> None:
    assert PLAN.secure_sum is not None
    odd = replace(PLAN, secure_sum=replace(PLAN.secure_sum, **change))  # type: ignore[arg-type]
    device = a_device(tmp_path, a_release(tmp_path, plan=odd))
    with Store.open(device) as store, pytest.raises(VerificationError, match="not those that its cohort and rates"):
        opt_in(store, active(device).manifest, now=0.0)


def test_a_device_speaks_with_the_key_that_its_directory_has(people: People) -> None:
    people.pin(people.document())
    device = people.devices[0]
    with Store.open(device) as store:
        (old,) = keys_to_try(store)
        enrolment_request(store, now=1.0, rotate=True)
        assert identity_key(device, store) == old.identity_key
        new, _ = keys_to_try(store)
        keys_accepted(store, new, node=1)
        with pytest.raises(UnknownClientError):
            device_participant(device, store, state=READY)
    later = people.document(serial=2)
    with Store.open(device) as store:
        pin_directory(store, later)
        assert identity_key(device, store) == new.identity_key


def test_a_device_fetches_a_later_directory_when_it_is_asked_with_strangers(people: People, tmp_path: Path) -> None:
    everybody, before = people.document(serial=2), people.document(serial=1, known=1)
    request = people.first_request()
    device = people.devices[0]
    heard = []
    with a_server_of_releases(tmp_path) as (registry, url), Store.open(device) as store:
        pin_directory(store, before)
        registry.keep_document("directory/films", everybody, serial=2)
        asked = AddingUp(store, LaterDirectory(store, url), lambda what, facts: heard.append((what, facts)))
        reply = asked.answer(people.instruction(), Stage.ADVERTISE, request)
    assert (reply.client, reply.code) == (10, "")
    assert heard == [("directory", {"serial": 2})]


def test_a_device_takes_over_no_directory_in_the_middle_of_a_round(people: People, tmp_path: Path) -> None:
    """Not even its signer puts other keys between devices that have begun."""
    people.pin(people.document())
    _, requests = people.asked(Stage.SHARE)
    heard: list[str] = []
    with a_server_of_releases(tmp_path) as (registry, url), Store.open(people.devices[0]) as store:
        registry.keep_document("directory/films", people.document(serial=2), serial=2)
        asked = AddingUp(store, LaterDirectory(store, url), lambda what, _: heard.append(what))
        with pytest.raises(ProtocolError):
            asked.answer(people.instruction(), Stage.SHARE, requests[10][:-1])
        pinned = pinned_directory(store)
    assert heard == []
    assert pinned is not None
    assert pinned.serial == 1


def test_a_server_that_knows_of_no_later_directory_keeps_a_device_out(people: People, tmp_path: Path) -> None:
    earlier = [people.document(serial=serial) for serial in (1, 2)]
    request = people.first_request()
    device, heard = people.devices[0], []
    with Store.open(device) as store:
        pin_directory(store, people.document(serial=3, known=1))
    with a_server_of_releases(tmp_path) as (registry, url), Store.open(device) as store:
        asked = AddingUp(store, LaterDirectory(store, url), lambda _, facts: heard.append(facts))
        for serial, document in enumerate(earlier, start=1):
            registry.keep_document("directory/films", document, serial=serial)
            with pytest.raises(ProtocolError, match="not in the pinned directory"):
                asked.answer(people.instruction(), Stage.ADVERTISE, request)
    assert all("older one is never taken" in str(facts["because"]) for facts in heard)
    assert len(heard) == 2


def test_a_directory_that_did_not_change_is_not_sent_again(people: People, tmp_path: Path) -> None:
    first, second, third = (people.document(serial=serial) for serial in (1, 2, 3))
    with a_server_of_releases(tmp_path) as (registry, url), Store.open(people.devices[0]) as store:
        pin_directory(store, first)
        later = LaterDirectory(store, url)
        registry.keep_document("directory/films", second, serial=2)
        found = later.pinned()
        assert found is not None
        assert found.serial == 2
        assert later.pinned() is None
        registry.keep_document("directory/films", third, serial=3)
        assert later.pinned() == pinned_directory(store)


def test_a_device_that_has_trained_finishes_its_round_in_use_and_on_battery(people: People) -> None:
    people.pin(people.document())
    for device in people.devices:
        with Store.open(device) as store:
            set_conditions(store, Conditions())
    server, requests = people.asked(Stage.MASK)
    in_use = DeviceState(idle=False, charging=False, unmetered=False)
    with pytest.raises(RefusedError, match="does not train now"):
        people.answer(10, Stage.MASK, requests[10], state=in_use)
    for stage in (Stage.MASK, Stage.ACKNOWLEDGE, Stage.REVEAL):
        state = READY if stage is Stage.MASK else in_use
        for client, request in server.requests().items():
            server.accept(client, people.answer(client, stage, request, state=state).answer)
        server.close()
    assert server.result().survivors == (10, 11, 12)


@pytest.mark.parametrize("stage", [Stage.ACKNOWLEDGE, Stage.REVEAL])
def test_a_device_whose_owner_says_no_in_the_middle_of_a_round_answers_no_more(people: People, stage: Stage) -> None:
    people.pin(people.document())
    _, requests = people.asked(stage)
    with Store.open(people.devices[0]) as store:
        opt_out(store)
    with pytest.raises(RefusedError, match="opt-in"):
        people.answer(10, stage, requests[10])


def test_devices_that_are_given_different_adapters_reveal_nothing_of_each_other(people: People) -> None:
    people.pin(people.document())
    server, requests = people.asked(Stage.MASK)
    odd = replace(people.instruction(), adapter=np.full_like(people.instruction().adapter, 0.01))
    for client, request in requests.items():
        instruction = odd if client == 10 else people.instruction()
        server.accept(client, people.answer(client, Stage.MASK, request, instruction=instruction).answer)
    server.close()
    for client, request in server.requests().items():
        server.accept(client, people.answer(client, Stage.ACKNOWLEDGE, request).answer)
    server.close()
    for client, request in server.requests().items():
        with pytest.raises(RefusedError, match="are needed"):
            people.answer(client, Stage.REVEAL, request)


def test_a_plan_for_smaller_updates_than_the_models_costs_a_device_nothing(tmp_path: Path) -> None:
    small = replace(
        PLAN,
        secure_sum=secure_sum_for(3, drop_out=0.0, corruption=0.0, size=10, norm=0.5, noise_multiplier=2.0),
    )
    people = People(tmp_path, plan=small)
    people.pin(people.document())
    asked = replace(people.instruction(), plan=small)
    with pytest.raises(RefusedError, match="for 10 at most"):
        people.answer(10, Stage.ADVERTISE, people.first_request(), instruction=asked)
    assert people.spent(10) == []


def test_an_owner_is_told_how_many_keys_of_known_devices_have_changed(people: People, tmp_path: Path) -> None:
    everybody = people.document(serial=1)
    people.pin(everybody)
    with Store.open(people.devices[1]) as store:
        enrolment_request(store, now=1.0, rotate=True)
    later, first = people.document(serial=2), people.first_request()
    heard = []
    with a_server_of_releases(tmp_path) as (registry, url), Store.open(people.devices[0]) as store:
        registry.keep_document("directory/films", later, serial=2)
        asked = AddingUp(store, LaterDirectory(store, url), lambda what, facts: heard.append((what, facts)))
        with pytest.raises(ProtocolError):
            asked.answer(people.instruction(), Stage.ADVERTISE, first[:-1])
    assert heard == [("directory", {"serial": 2, "changed_keys": 1})]
