"""Secrets of a service are there, and the owner's alone, or it does not run."""

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.errors import VerificationError
from fedrec.service.config import NetworkConfig
from fedrec.service.custody import loose_secrets, missing_secrets, secrets_of, settled_noise_key
from fedrec.service.folder import ServiceFolder
from fedrec.service.running import run_service
from fedrec.service.setup import make_service


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServiceFolder:
    network = NetworkConfig(names=("localhost",))
    return make_service(tmp_path_factory.mktemp("made") / "service", network=network, now=datetime.now(UTC))


@pytest.mark.parametrize("name", ["signing.key", "superexec.secret", "control.secret", "server.key", "operator.token"])
def test_a_service_whose_secret_is_gone_does_not_run(made: ServiceFolder, name: str) -> None:
    secret = made.keys / name
    away = secret.rename(secret.with_suffix(".away"))
    try:
        assert missing_secrets(made) == [secret]
        with pytest.raises(VerificationError, match="is gone"):
            run_service(made, once=True, stopping=threading.Event())
    finally:
        away.rename(secret)


@pytest.mark.parametrize("name", ["keys/signing.key", "keys/ca.key", "superlink.db"])
def test_a_service_whose_secret_others_can_read_does_not_run(made: ServiceFolder, name: str) -> None:
    secret: Path = made.path / name
    secret.chmod(0o640)
    try:
        assert loose_secrets(made) == [secret]
        with pytest.raises(VerificationError, match="chmod 600"):
            run_service(made, once=True, stopping=threading.Event())
    finally:
        secret.chmod(0o600)


def test_a_noise_key_lies_with_the_other_keys_and_an_old_one_is_moved_there(made: ServiceFolder) -> None:
    old, key = made.catalogue("films").old_noise_key, made.keys / "noise-films.key"
    old.parent.mkdir(parents=True)
    assert settled_noise_key(made, "films") == key
    assert not key.exists()
    old.write_bytes(b"k" * 32)
    try:
        assert settled_noise_key(made, "films").read_bytes() == b"k" * 32
        assert not old.exists()
        assert settled_noise_key(made, "films") == key
        key.chmod(0o640)
        assert loose_secrets(made) == [key]
        old.write_bytes(b"l" * 32)
        with pytest.raises(VerificationError, match="both there"):
            settled_noise_key(made, "films")
    finally:
        key.unlink()
        shutil.rmtree(made.catalogue("films").path)


@pytest.mark.parametrize("again", ["a copy from before", "a link to it"])
def test_a_noise_key_that_is_in_both_places_is_kept_once(made: ServiceFolder, again: str) -> None:
    old, key = made.catalogue("films").old_noise_key, made.noise_key("films")
    old.parent.mkdir(parents=True)
    key.write_bytes(b"k" * 32)
    if again == "a link to it":
        old.symlink_to(key)
    else:
        old.write_bytes(b"k" * 32)
    try:
        assert settled_noise_key(made, "films").read_bytes() == b"k" * 32
        assert not old.is_symlink()
        assert not old.exists()
    finally:
        key.unlink()
        shutil.rmtree(made.catalogue("films").path)


def test_a_noise_key_that_lay_elsewhere_behind_a_link_lies_with_the_others(made: ServiceFolder, tmp_path: Path) -> None:
    old, key, elsewhere = made.catalogue("films").old_noise_key, made.noise_key("films"), tmp_path / "noise.key"
    old.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"k" * 32)
    old.symlink_to(Path("..") / old.name)  # as seen from the run's folder alone
    (old.parent.parent / old.name).symlink_to(elsewhere)
    try:
        assert settled_noise_key(made, "films").read_bytes() == b"k" * 32
        assert not key.is_symlink()
        assert not loose_secrets(made)
    finally:
        key.unlink()
        shutil.rmtree(made.catalogue("films").path)


def test_a_service_that_was_just_made_keeps_its_secrets(made: ServiceFolder) -> None:
    assert len(secrets_of(made)) >= 5
    assert not loose_secrets(made)
    assert not missing_secrets(made)
