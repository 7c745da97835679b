import os

import keyring
import keyring.backend
import keyring.errors
import pytest

from fedrec.data.store.keys import FileKeys, key_name, new_key
from fedrec.data.store.store import Store
from fedrec.errors import DataError, RefusedError, VerificationError
from tests.data.store.conftest import liked


class InMemory(keyring.backend.KeyringBackend):
    """A keyring that really stores, for as long as the test runs."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise keyring.errors.KeyringLocked
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise keyring.errors.KeyringLocked
        self.kept[service, username] = password

    def delete_password(self, service, username):
        if (service, username) not in self.kept:
            raise keyring.errors.PasswordDeleteError
        del self.kept[service, username]


@pytest.fixture
def ring(monkeypatch):
    monkeypatch.delenv("FEDREC_KEY_FILE", raising=False)
    before, ours = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def no_ring(monkeypatch):
    from keyring.backends.fail import Keyring

    monkeypatch.delenv("FEDREC_KEY_FILE", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    yield
    keyring.set_keyring(before)


def test_the_key_lies_in_the_keyring_where_one_answers(ring, folder):
    with Store.create(folder) as store:
        store.add_event(liked("a"))
    assert not (folder / "store.key").exists()
    ((_, kept),) = ring.kept.items()
    assert kept.encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
    with Store.open(folder) as again:
        assert len(again.events()) == 1


def test_after_a_change_of_key_the_keyring_holds_the_new_one_alone(ring, folder):
    with Store.create(folder) as store:
        before = dict(ring.kept)
        store.rotate_key()
        store.erase()
    assert len(ring.kept) == 1
    assert not ring.kept.items() & before.items()


@pytest.mark.usefixtures("no_ring")
def test_without_a_keyring_the_key_lies_in_a_file_of_the_owner(folder):
    with Store.create(folder) as store:
        store.add_event(liked("a"))
    assert (folder / "store.key").stat().st_mode & 0o777 == 0o600
    with Store.open(folder) as again:
        assert len(again.events()) == 1


def test_the_file_can_be_forced(ring, folder, monkeypatch):
    monkeypatch.setenv("FEDREC_KEY_FILE", "1")
    with Store.create(folder):
        assert (folder / "store.key").exists()
    assert ring.kept == {}


@pytest.mark.usefixtures("ring")
def test_a_store_whose_key_is_in_the_file_opens_beside_a_keyring(folder):
    Store.create(folder, keys="file").close()
    Store.open(folder).close()


def test_a_locked_keyring_says_so_and_nothing_is_made(ring, folder):
    ring.locked = True
    with pytest.raises(RefusedError, match="FEDREC_KEY_FILE=1"):
        Store.create(folder)
    assert not (folder / "store.db").exists()


def test_a_keyring_that_locks_later_says_so_and_nothing_is_moved(ring, folder):
    Store.create(folder).close()
    ring.locked = True
    with pytest.raises(RefusedError, match="Unlock it"):
        Store.open(folder)
    ring.locked = False
    Store.open(folder).close()


@pytest.mark.usefixtures("ring")
def test_a_keyring_that_loses_what_it_is_given_is_refused(folder, monkeypatch):
    monkeypatch.setattr(InMemory, "set_password", lambda *_: None)
    with pytest.raises(RefusedError, match="does not keep"):
        Store.create(folder)


@pytest.mark.parametrize("place", ["ring", "file"])
def test_a_missing_key_is_told_and_nothing_is_moved(ring, folder, place):
    Store.create(folder, keys="file" if place == "file" else None).close()
    ring.kept.clear()
    (folder / "store.key").unlink(missing_ok=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DataError, match="Restore it from a copy") as told:
        Store.open(folder)
    assert not isinstance(told.value, VerificationError)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_damaged_key_is_told_from_a_damaged_store(store, folder):
    store.close()
    name, key = (folder / "store.key").read_text().split()
    (folder / "store.key").write_text(f"{name} {key[:-1]}{'0' if key[-1] != '0' else '1'}\n")
    with pytest.raises(VerificationError, match=r"The key in .* is damaged"):
        Store.open(folder, keys="file")
    (folder / "store.key").write_text("nonsense")
    with pytest.raises(VerificationError, match="holds no keys"):
        Store.open(folder, keys="file")
    assert (folder / "store.db").exists()
    (folder / "store.key").write_text(f"{name} {key}\n")
    Store.open(folder, keys="file").close()


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys": []}', '{"keys": [1]}', "[" * 100_000])
def test_a_store_that_lost_the_name_of_its_key_says_so(store, folder, content):
    store.close()
    path = folder / "store.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises((DataError, VerificationError), match=r"store\.json"):
        Store.open(folder, keys="file")
    assert (folder / "store.db").exists()


def test_a_forgotten_key_is_overwritten_where_it_lay(tmp_path):
    keys = FileKeys(tmp_path / "store.key")
    (one, first), (two, second) = new_key(), new_key()
    keys.write(one, first)
    keys.write(two, second)
    (tmp_path / ".store.key.draft").write_text(f"{one} {first.hex()}")
    for path in (tmp_path / "store.key", tmp_path / ".store.key.draft"):
        os.link(path, tmp_path / f"old blocks of {path.name}")
    keys.forget(one)
    assert (keys.read(one), keys.read(two)) == (None, second)
    assert {byte for path in tmp_path.glob("old*") for byte in path.read_bytes()} == {0}
    assert len(list(tmp_path.iterdir())) == 3
    keys.forget(two)
    assert not (tmp_path / "store.key").exists()
    keys.forget(two)


def test_the_name_of_a_key_does_not_hold_it():
    name, key = new_key()
    assert name == key_name(key)
    assert name not in key.hex()


def test_no_message_holds_a_key(store, folder):
    _, key = (folder / "store.key").read_text().split()
    store.close()
    (folder / "store.db").write_bytes(b"not a store at all")
    with pytest.raises(VerificationError) as told:
        Store.open(folder, keys="file")
    assert key not in str(told.value)
    assert key not in repr(told.value.__context__)
