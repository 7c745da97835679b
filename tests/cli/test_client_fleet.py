"""`fedrec client enrol` and `run`: what is printed, and what is refused before anything is asked of a server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrec.cli.client import app
from fedrec.data.store.store import Store
from fedrec.enrolment import fingerprint, read_request
from fedrec.errors import ConfigError, RefusedError
from fedrec.ondevice.enrolment import keys_to_try


@pytest.fixture
def device(tmp_path: Path) -> Path:
    Store.create(tmp_path / "device", keys="file").close()
    return tmp_path / "device"


def run(*words: object) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.stdout, done.stderr


def test_the_request_is_printed_and_its_words_beside_it(device) -> None:
    said, beside = run("enrol", device)
    assert fingerprint(read_request(said.encode())) in beside
    assert fingerprint(read_request(said.encode())) not in said


def test_a_request_is_written_where_it_is_wanted_and_holds_no_secret(device, tmp_path) -> None:
    said, _ = run("enrol", device, "--out", tmp_path / "request.json")
    assert said == ""
    content = (tmp_path / "request.json").read_bytes()
    with Store.open(device) as store:
        (keys,) = keys_to_try(store)
    assert read_request(content).identity_key == keys.identity_key
    assert keys.identity.private_bytes_raw().hex().encode() not in content
    assert not any(line in content for line in keys.node_secret().splitlines()[1:-2])


def test_new_keys_are_asked_for_as_the_same_client_or_as_another_and_not_as_both(device) -> None:
    first = read_request(run("enrol", device)[0].encode())
    assert read_request(run("enrol", device, "--rotate")[0].encode()).replaces == first.identity_key
    assert read_request(run("enrol", device, "--new")[0].encode()).replaces is None
    with pytest.raises(ConfigError, match="Choose one"):
        run("enrol", device, "--rotate", "--new")


def test_a_device_that_never_asked_takes_no_part(device, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # those of the tests stay theirs
    (tmp_path / "ca.crt").touch()
    with pytest.raises(RefusedError, match="Enrol it first"):
        run("run", device, "--server", "localhost:443", "--ca", tmp_path / "ca.crt")
