"""`fedrec client init` and `update` with `--from`: a device takes its releases from a server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedrec.cli.client import app
from fedrec.data.store.store import Store
from fedrec.errors import ConfigError, FedrecError, RefusedError
from fedrec.identities import Directory, signed_directory
from fedrec.ondevice.enrolment import pinned_directory
from fedrec.registry.registry import Registry
from tests.ondevice.device_worlds import a_world
from tests.registry.presses import Press
from tests.registry.serving import listening, releases_app


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDREC_KEY_FILE", "1")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}") as opened:
        yield opened


@pytest.fixture
def server(registry: Registry) -> Iterator[str]:
    with listening(releases_app(registry)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return Press(folder=tmp_path / "made", world=a_world())


@pytest.fixture
def signer(press: Press) -> Path:
    assert press.key
    return press.folder / "signing.pub"


def told(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, FedrecError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def answered(*arguments: object) -> Any:
    return json.loads(told(*arguments, "--json"))


def promote(registry: Registry, press: Press, round_number: int) -> None:
    row = press.publish(registry, round_number)
    registry.promote("films", row.id, key=press.key, now=round_number)


def test_a_device_is_made_and_kept_up_to_date_from_a_server(
    registry: Registry, press: Press, server: str, signer: Path, tmp_path: Path
) -> None:
    promote(registry, press, 1)
    device = tmp_path / "device"
    assert answered("init", device, "--from", server, "--catalogue", "films", "--key", signer)["round"] == 1
    assert len(answered("recommend", device, "-k", 3)["items"]) == 3
    promote(registry, press, 2)
    assert answered("update", device, "--from", server)["round"] == 2
    registry.roll_back("films", key=press.key, now=3)
    assert answered("update", device, "--from", server)["round"] == 1
    assert "nothing newer" in told("update", device, "--from", server)
    assert answered("update", device, "--from", server)["round"] == 1


def test_a_device_whose_making_broke_off_is_made_by_the_same_command(
    registry: Registry, press: Press, server: str, signer: Path, tmp_path: Path
) -> None:
    made = ("init", tmp_path / "device", "--from", server, "--catalogue", "films", "--key", signer)
    with pytest.raises(FedrecError):
        answered(*made)
    promote(registry, press, 1)
    assert answered(*made)["round"] == 1
    (tmp_path / "device" / "store.db").unlink()
    assert answered(*made)["round"] == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--release", "folder", "--from", "https://example.org"),
        ("--release", "folder", "--catalogue", "films"),
        ("--from", "http://example.org", "--catalogue", "films"),
        ("--from", "https://example.org"),
    ],
)
def test_a_source_that_is_none_or_two_is_refused_before_anything_is_asked(
    registry: Registry, press: Press, signer: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert registry
    assert signer.exists()
    device = tmp_path / "device"
    told("init", device, "--release", press.release(1), "--key", signer)
    with pytest.raises(ConfigError):
        told("update", device, *words)


def test_an_update_pins_who_the_others_are_and_no_older_word_of_it(
    tmp_path: Path, registry: Registry, press: Press, server: str, signer: Path
) -> None:
    promote(registry, press, 1)
    device = tmp_path / "device"
    answered("init", device, "--key", signer, "--from", server, "--catalogue", "films")
    answered("update", device, "--from", server)
    with Store.open(device) as store:
        assert pinned_directory(store) is None
    for kept, serial in enumerate((5, 4)):
        document = signed_directory(Directory(catalogue="films", serial=serial, entries={0: "ab" * 32}), press.key)
        registry.keep_document("directory/films", document, serial=kept)
        if serial == 5:
            answered("update", device, "--from", server)
    with pytest.raises(RefusedError, match="serial 4"):
        told("update", device, "--from", server)
    with Store.open(device) as store:
        assert pinned_directory(store) == Directory(catalogue="films", serial=5, entries={0: "ab" * 32})


def test_a_directory_of_another_catalogue_is_not_the_first_that_is_pinned(
    tmp_path: Path, registry: Registry, press: Press, server: str, signer: Path
) -> None:
    promote(registry, press, 1)
    device = tmp_path / "device"
    answered("init", device, "--key", signer, "--from", server, "--catalogue", "films")
    document = signed_directory(Directory(catalogue="books", serial=1, entries={}), press.key)
    registry.keep_document("directory/films", document, serial=1)
    with pytest.raises(RefusedError, match="not of catalogue"):
        told("update", device, "--from", server)
