"""Secrets of a service are there, and the owner's alone, or it does not run."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrec.errors import VerificationError
from fedrec.service.config import NetworkConfig
from fedrec.service.custody import loose_secrets, missing_secrets, secrets_of
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


def test_a_service_that_was_just_made_keeps_its_secrets(made: ServiceFolder) -> None:
    assert len(secrets_of(made)) >= 5
    assert not loose_secrets(made)
    assert not missing_secrets(made)
