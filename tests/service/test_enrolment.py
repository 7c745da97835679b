"""Enrolling and revoking: the registry first, and a SuperLink that does not answer changes nothing of what it says."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.enrolment import LARGEST_REQUEST, EnrolmentRequest, flower_key, signed_request, ssh_line
from fedrec.errors import ConfigError, DataError, RefusedError, VerificationError
from fedrec.federation.admission import admission
from fedrec.identities import Directory, read_directory
from fedrec.privacy.ledger import Ledger
from fedrec.registry import nodes
from fedrec.registry.registry import Registry
from fedrec.release import public_key
from fedrec.service.config import NetworkConfig, artifacts_url, database_url, load_service
from fedrec.service.enrolment import Outcome, enrol, given_request, revoke, settle
from fedrec.service.folder import ServiceFolder
from fedrec.service.setup import make_service
from fedrec.service.superlink import connection, served_runs
from tests.federation.superlinks import free_port
from tests.service.superlinks import a_superlink


def a_service(at: Path) -> ServiceFolder:
    """A service with one catalogue that has no items."""
    network = NetworkConfig(names=("localhost",), fleet_port=free_port())
    folder = make_service(at, network=network, now=datetime.now(UTC))
    folder.catalogue("films").path.mkdir()
    folder.catalogue("films").scenario.touch()
    return folder


def opened(folder: ServiceFolder) -> Registry:
    config = load_service(folder)
    return Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config))


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return a_service(tmp_path / "service")


@pytest.fixture
def registry(folder: ServiceFolder) -> Iterator[Registry]:
    with opened(folder) as registry:
        yield registry


class Person:
    """Keys of a device that is nothing else."""

    def __init__(self) -> None:
        self.node, self.identity = ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate()

    @property
    def key(self) -> str:
        return self.identity.public_key().public_bytes_raw().hex()

    @property
    def flower_key(self) -> bytes:
        return flower_key(ssh_line(self.node.public_key()))

    def request(self, *, replaces: "Person | None" = None) -> EnrolmentRequest:
        return EnrolmentRequest(
            node_key=ssh_line(self.node.public_key()),
            identity_key=self.key,
            nonce="00" * 16,
            made_at=0,
            replaces=replaces.key if replaces else None,
        )


def directory_of(folder: ServiceFolder, registry: Registry) -> Directory | None:
    document = registry.directory("films")
    return read_directory(document, signer=public_key(folder.signing_key.with_suffix(".pub"))) if document else None


def enrolled(folder: ServiceFolder, registry: Registry, person: Person, *, replaces: Person | None = None) -> Outcome:
    return enrol(folder, registry, person.request(replaces=replaces), catalogue="films")


def test_a_request_is_read_from_its_file_and_never_more_than_one_can_be_long(tmp_path) -> None:
    person, path = Person(), tmp_path / "request.json"
    path.write_bytes(signed_request(person.request(), node=person.node, identity=person.identity))
    assert given_request(path) == person.request()
    path.write_bytes(b" " * LARGEST_REQUEST * 4)
    with pytest.raises(VerificationError):
        given_request(path)
    with pytest.raises(DataError, match="cannot be read"):
        given_request(tmp_path / "none")


def test_a_catalogue_that_is_not_served_enrols_nobody(folder, registry) -> None:
    with pytest.raises(ConfigError, match="films"):
        enrol(folder, registry, Person().request(), catalogue="books")
    assert nodes.nodes(registry.database) == []


def test_without_a_superlink_a_device_has_asked_and_is_not_enrolled(folder, registry) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="does not answer"):
            enrolled(folder, registry, person := Person())
        with pytest.raises(DataError, match="does not answer"):
            enrolled(folder, registry, person)
    assert [(node.client, node.state) for node in nodes.nodes(registry.database)] == [(0, "asked"), (1, "asked")]
    assert directory_of(folder, registry).entries == {}


def test_after_a_lost_registry_nobody_inherits_a_number_that_has_spent(folder, registry) -> None:
    run = folder.catalogue("films").run
    run.mkdir()
    with Ledger(run / "ledger.jsonl") as ledger:
        ledger.append({"kind": "update", "participants": [0, 4]})
    for _ in range(2):
        with pytest.raises(DataError):
            enrolled(folder, registry, Person())
    assert [node.client for node in nodes.nodes(registry.database)] == [5, 6]


def test_nor_after_one_that_was_set_back(folder, registry) -> None:
    """An older copy knows the first devices, and not the last one, which has taken part since."""
    with pytest.raises(DataError):
        enrolled(folder, registry, Person())
    run = folder.catalogue("films").run
    run.mkdir()
    with Ledger(run / "ledger.jsonl") as ledger:
        ledger.append({"kind": "update", "participants": [0, 1]})
    with pytest.raises(DataError):
        enrolled(folder, registry, Person())
    assert [node.client for node in nodes.nodes(registry.database)] == [0, 2]


def test_a_directory_rises_over_a_lost_registry(folder, registry) -> None:
    began = int(time.time())
    with pytest.raises(DataError):
        settle(folder, registry)
    assert directory_of(folder, registry).serial >= began


def test_a_revocation_counts_at_once_even_if_no_superlink_answers(folder, registry) -> None:
    person = Person()
    node = nodes.ask(
        registry.database, person.request(), catalogue="films", places=nodes.Places(most=9, per_day=9), now=0
    )
    nodes.confirm(registry.database, node.node_key, now=0)
    with pytest.raises(DataError):
        settle(folder, registry)
    before = directory_of(folder, registry)
    assert before.entries == {0: person.key}
    outcome = revoke(folder, registry, "films", 0)
    assert [node.state for node in outcome.nodes] == ["revoked"]
    assert "does not answer" in outcome.notes[0]
    assert nodes.enrolled_nodes(registry.database, "films") == {}
    assert directory_of(folder, registry).entries == {}
    assert directory_of(folder, registry).serial > before.serial


def test_what_may_be_enrolled_is_the_operators_setting(folder, registry) -> None:
    text = folder.config.read_text()
    folder.config.write_text(text.replace("most = 100000", "most = 1"))
    assert load_service(folder).enrolment.most == 1
    with pytest.raises(DataError):
        enrolled(folder, registry, Person())
    with pytest.raises(RefusedError, match=r"enrolment\.most"):
        enrolled(folder, registry, Person())


@pytest.mark.deploy
@pytest.mark.flower
@pytest.mark.slow
def test_a_real_superlink_follows_the_registry(folder, registry, tmp_path) -> None:
    first, second, later, unknown = (Person() for _ in range(4))
    with a_superlink(folder, tmp_path / "superlink.log"):
        address, authority = connection(folder)
        with admission(address, authority=authority, secret=folder.control_secret) as superlink:
            assert [enrolled(folder, registry, each).nodes[0].client for each in (first, second)] == [0, 1]
            assert set(superlink.admitted()) == {first.flower_key, second.flower_key}
            assert directory_of(folder, registry).entries == {0: first.key, 1: second.key}

            # New keys: the same client, the old node is dismissed.
            assert enrolled(folder, registry, later, replaces=second).nodes[0].client == 1
            assert set(superlink.admitted()) == {first.flower_key, later.flower_key}
            assert directory_of(folder, registry).entries == {0: first.key, 1: later.key}
            with pytest.raises(RefusedError, match="replaced"):
                enrolled(folder, registry, second)

            # Whom the registry does not know is left alone.
            superlink.admit(unknown.flower_key)
            assert settle(folder, registry) == []
            assert unknown.flower_key in superlink.admitted()

            # A revoked key is refused for good.
            revoke(folder, registry, "films", 0)
            assert first.flower_key not in superlink.admitted()
            with pytest.raises(RefusedError):
                superlink.admit(first.flower_key)
            with pytest.raises(RefusedError, match="revoked"):
                enrolled(folder, registry, first)

            # What was unregistered by other means is told, and stops nobody else.
            superlink.dismiss(superlink.admitted()[later.flower_key].id)
            (note,) = settle(folder, registry)
            assert "Client 1" in note
        assert served_runs(folder) == []

    # A SuperLink that lost its database is told again.
    for path in folder.path.glob("superlink.db*"):
        path.unlink()
    with a_superlink(folder, tmp_path / "superlink.log"):
        assert settle(folder, registry) == []
        with admission(address, authority=authority, secret=folder.control_secret) as superlink:
            assert set(superlink.admitted()) == {later.flower_key}
