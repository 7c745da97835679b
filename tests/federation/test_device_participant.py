"""Devices that add up under masks: keys from their stores, peers from a pinned directory that is kept up to date."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.store.store import Store
from fedrec.errors import ProtocolError, RefusedError, UnknownClientError, VerificationError
from fedrec.federation.device_client import device_participant
from fedrec.federation.taking_part import AddingUp
from fedrec.identities import Directory, signed_directory
from fedrec.model.linear import released_layout
from fedrec.ondevice.device_state import DeviceState
from fedrec.ondevice.directory import LaterDirectory
from fedrec.ondevice.enrolment import enrolment_request, keys_accepted, keys_to_try, pin_directory, pinned_directory
from fedrec.ondevice.participation import Conditions, opt_in, opt_out
from fedrec.ondevice.releases import active
from fedrec.privacy.device_ledger import read_device_events
from fedrec.privacy.plan import Limits, PrivacyPlan
from fedrec.registry.registry import Registry
from fedrec.secagg.planned import secure_sum_for
from fedrec.secagg.roster import Roster
from fedrec.secagg.server import SecureServer
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.masking import Masking, masking_of
from tests.private_devices import a_device, a_release, a_signer, an_event
from tests.registry.serving import listening, releases_app

ALWAYS = Conditions(idle=False, charging=False, unmetered=False)
READY = DeviceState(idle=True, charging=True, unmetered=True)
CLIENTS = 3
PLAN = PrivacyPlan(
    mode="distributed",
    unit="USER",
    clip_norm=0.5,
    noise_multiplier=2.0,
    delta=1e-6,
    limits=Limits(cap=3, rounds=3),
    secure_sum=secure_sum_for(CLIENTS, drop_out=0.0, corruption=0.0, size=2**14, norm=0.5, noise_multiplier=2.0),
)


class People:
    """Devices whose owners agreed to sums under masks, of one catalogue that one signer vouches for."""

    def __init__(self, path: Path, *, plan: PrivacyPlan = PLAN) -> None:
        self.signer = a_signer(path)
        release = a_release(path, plan=plan)
        self.devices: list[Path] = []
        for number in range(CLIENTS):
            home = path / f"home-{number}"
            home.mkdir()
            device = a_device(home, release)
            with Store.open(device) as store:
                for day in range(6):
                    store.add_event(an_event(number + day * 3, time=1_700_000_000 + day * 86_400))
                opt_in(store, active(device).manifest, now=0.0, conditions=ALWAYS)
                enrolment_request(store, now=0.0)
            self.devices.append(device)

    def document(self, *, serial: int = 1, known: int = CLIENTS) -> bytes:
        """The signed directory of the first devices."""
        directory = Directory(catalogue="films", serial=serial, entries=self._entries(known))
        return signed_directory(directory, self.signer)

    def pin(self, document: bytes) -> None:
        """Everybody has this directory."""
        for device in self.devices:
            with Store.open(device) as store:
                pin_directory(store, document)

    def instruction(self) -> Instruction:
        """What a server asks of all of them."""
        layout = released_layout(active(self.devices[0]).manifest)
        return Instruction(
            run="run",
            round=1,
            token="token",  # noqa: S106
            adapter=np.zeros(layout.size, np.float32),
            layout=layout.hash,
            plan=PLAN,
            negatives_seed=0,
        )

    def masking(self) -> Masking:
        """As the server has it."""
        found = masking_of(PLAN, self._keys)
        assert found is not None
        return found

    def server(self) -> SecureServer:
        """A server that asks them all."""
        instruction, masking = self.instruction(), self.masking()
        terms = masking.terms(instruction, size=len(instruction.adapter))
        return SecureServer(terms, roster=Roster((10, 11, 12)), directory=self._keys())

    def first_request(self) -> bytes:
        """What client 10 is asked first."""
        return self.server().requests()[10]

    def _keys(self) -> dict[int, bytes]:
        return {client: bytes.fromhex(key) for client, key in self._entries(CLIENTS).items()}

    def _entries(self, known: int) -> dict[int, str]:
        entries = {}
        for number, device in enumerate(self.devices[:known]):
            with Store.open(device) as store:
                entries[10 + number] = keys_to_try(store)[0].identity_key
        return entries


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path)


@contextmanager
def a_server_of_releases(folder: Path) -> Iterator[tuple[Registry, str]]:
    """Where devices fetch their directory."""
    url = f"sqlite:///{folder / 'registry.db'}"
    with Registry.open(url, artifacts=str(folder / "artifacts")) as registry, listening(releases_app(registry)) as port:
        yield registry, f"http://127.0.0.1:{port}"


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
    # Three shares of noise, each of a variance of which three make the plan's.
    # Of so few numbers the spread is off by more than six of its own standard deviations once in 10^9.
    planned = PLAN.clip_norm * PLAN.noise_multiplier
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


@pytest.mark.parametrize("change", [{"least_honest": 2}, {"steps": 1}, {"total_variation": 1e-12}, {"norm": 1.0}])
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
