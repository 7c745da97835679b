"""A device's keys lie encrypted, change in the old ones' name, and others are known by a directory that only rises."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedrec.data.store.store import Store
from fedrec.enrolment import fingerprint, read_request
from fedrec.errors import RefusedError, VerificationError
from fedrec.identities import Directory, signed_directory
from fedrec.ondevice.enrolment import (
    enrolment_request,
    forget_keys,
    keys_accepted,
    keys_to_try,
    last_node,
    own_client,
    pin_directory,
    pinned_directory,
)
from fedrec.ondevice.releases import pin_signer
from fedrec.release import signing_key

NOW = 1_700_000_000.0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    folder = tmp_path / "device"
    Store.create(folder, keys="file").close()
    signing_key(tmp_path / "signing.key")
    pin_signer(folder, tmp_path / "signing.pub")
    return folder


@pytest.fixture
def store(device: Path):
    with Store.open(device) as opened:
        yield opened


def pin(store: Store, serial: int, entries: dict[int, str], catalogue: str = "films") -> Directory:
    directory = Directory(catalogue=catalogue, serial=serial, entries=entries)
    return pin_directory(store, signed_directory(directory, signing_key(store.folder.parent / "signing.key")))


def test_a_request_asked_for_again_is_for_the_same_keys(store) -> None:
    first, second = (read_request(enrolment_request(store, now=NOW + hour)) for hour in (0, 3600))
    assert fingerprint(first) == fingerprint(second)
    assert first.nonce != second.nonce
    assert second.made_at == NOW + 3600


def test_keys_survive_a_restart_and_lie_nowhere_in_clear(device) -> None:
    with Store.open(device) as store:
        request = read_request(enrolment_request(store, now=NOW))
        (keys,) = keys_to_try(store)
        secrets = [keys.node_secret(), keys.identity.private_bytes_raw()]
        private = keys.node.private_numbers().private_value.to_bytes(48, "big")
    with Store.open(device) as again:
        assert [each.identity_key for each in keys_to_try(again)] == [request.identity_key]
    held = b"".join(path.read_bytes() for path in device.rglob("*") if path.is_file())
    assert not any(secret in held for secret in (*secrets, private))


def test_flower_reads_the_nodes_secret(store) -> None:
    enrolment_request(store, now=NOW)
    (keys,) = keys_to_try(store)
    assert load_ssh_private_key(keys.node_secret(), None).curve.name == "secp384r1"


def test_what_a_person_exports_holds_no_key(store) -> None:
    enrolment_request(store, now=NOW)
    (keys,) = keys_to_try(store)
    exported = str(store.export())
    assert keys.identity.private_bytes_raw().hex() not in exported
    assert "OPENSSH" not in exported


def test_a_change_of_keys_is_asked_for_in_the_name_of_those_in_use(store) -> None:
    first = read_request(enrolment_request(store, now=NOW))
    change = read_request(enrolment_request(store, now=NOW, rotate=True))
    assert change.replaces == first.identity_key
    assert change.node_key != first.node_key
    assert fingerprint(read_request(enrolment_request(store, now=NOW, rotate=True))) == fingerprint(change)


def test_both_keys_are_tried_until_the_server_knows_the_new_one(store) -> None:
    old = read_request(enrolment_request(store, now=NOW)).identity_key
    new = read_request(enrolment_request(store, now=NOW, rotate=True)).identity_key
    newest, oldest = keys_to_try(store)
    assert [newest.identity_key, oldest.identity_key] == [new, old]
    keys_accepted(store, oldest, node=2**64 - 1)
    assert len(keys_to_try(store)) == 2
    assert (last_node(store, oldest), last_node(store, newest)) == (2**64 - 1, None)
    keys_accepted(store, newest, node=5)
    assert (last_node(store, oldest), last_node(store, newest)) == (None, 5)
    assert [keys.identity_key for keys in keys_to_try(store)] == [new]
    assert read_request(enrolment_request(store, now=NOW, rotate=True)).replaces == new


def test_there_is_nothing_to_change_before_the_first_keys(store) -> None:
    with pytest.raises(RefusedError, match="--rotate"):
        enrolment_request(store, now=NOW, rotate=True)
    assert keys_to_try(store) == []


def test_a_device_can_ask_as_somebody_new(store) -> None:
    first = read_request(enrolment_request(store, now=NOW))
    keys_accepted(store, keys_to_try(store)[0], node=1)
    forget_keys(store)
    assert keys_to_try(store) == []
    again = read_request(enrolment_request(store, now=NOW))
    assert again.replaces is None
    assert {again.node_key, again.identity_key}.isdisjoint({first.node_key, first.identity_key})
    assert last_node(store, keys_to_try(store)[0]) is None


def test_an_erased_device_is_nobody(store) -> None:
    enrolment_request(store, now=NOW)
    store.erase()
    assert keys_to_try(store) == []


def test_a_directory_only_rises(store) -> None:
    assert pinned_directory(store) is None
    pin(store, 3, {0: "00" * 32})
    later = pin(store, 4, {0: "11" * 32})
    assert pinned_directory(store) == later
    assert pin(store, 4, {0: "11" * 32}) == later
    with pytest.raises(RefusedError, match="serial 3"):
        pin(store, 3, {0: "00" * 32})
    with pytest.raises(RefusedError, match="two directories"):
        pin(store, 4, {0: "22" * 32})
    with pytest.raises(RefusedError, match="another catalogue"):
        pin(store, 5, {0: "11" * 32}, catalogue="books")
    assert pinned_directory(store) == later


def test_a_directory_of_another_signer_is_not_pinned(store, tmp_path) -> None:
    directory = Directory(catalogue="films", serial=9, entries={})
    with pytest.raises(VerificationError):
        pin_directory(store, signed_directory(directory, signing_key(tmp_path / "other.key")))
    assert pinned_directory(store) is None


def test_a_device_finds_itself_in_the_directory(store) -> None:
    own = read_request(enrolment_request(store, now=NOW)).identity_key
    assert own_client(store) is None
    pin(store, 1, {6: "00" * 32})
    assert own_client(store) is None
    pin(store, 2, {6: "00" * 32, 7: own})
    assert own_client(store) == 7
