"""`fedrec server`: a service that is set up, looked at and decided about, on the command line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedrec.cli.server import app
from fedrec.data.synthetic import write_world
from fedrec.errors import ConfigError, DataError, FedrecError, RefusedError
from fedrec.registry.actions import actions
from fedrec.registry.registry import Registry
from fedrec.registry.status import RoundStatus, tell
from fedrec.release import signing_key, verify_release
from fedrec.service.config import artifacts_url, database_url, load_service
from fedrec.service.folder import ServiceFolder
from tests.ondevice.device_worlds import a_release, a_world
from tests.service.doors import free_ports

SCENARIO = 'name = "films"\n[privacy]\nmode = "central"\n[budget]\nepsilon = 8.0\n'


def run(*arguments: object, code: int = 0) -> str:
    """What a command prints; its errors are raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, FedrecError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def answered(*arguments: object, code: int = 0) -> Any:
    """The one JSON object that a command prints."""
    return json.loads(run(*arguments, "--json", code=code))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "films"
    write_world(path, users=20, items=30, seed=1)
    return path


@pytest.fixture
def service(tmp_path: Path) -> Path:
    public, fleet, front = free_ports(3)
    run("init", tmp_path / "service", "--port", public, "--fleet-port", fleet, "--front-port", front)
    return tmp_path / "service"


@pytest.fixture
def served(service: Path, dataset: Path, tmp_path: Path) -> Path:
    """A service with a catalogue."""
    (tmp_path / "films.toml").write_text(SCENARIO)
    run("add-catalogue", service, dataset, "--scenario", tmp_path / "films.toml")
    return service


@pytest.fixture
def released(served: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A service whose catalogue has three releases of the service's own signer, none of them in use."""
    folder = ServiceFolder(served)
    made = tmp_path / "made"
    made.mkdir()
    (made / "signing.key").write_bytes(folder.signing_key.read_bytes())
    ids, world = [], a_world()
    with opened(served) as registry:
        for number in range(3):
            release = a_release(made, world, round_number=number)
            manifest = verify_release(release, signing_key(folder.signing_key).public_key())
            ids.append(registry.publish("films", release, manifest=manifest).manifest_hash)
    return served, ids


def opened(service: Path) -> Registry:
    folder = ServiceFolder(service)
    config = load_service(folder)
    return Registry.open(database_url(folder, config), artifacts=artifacts_url(folder, config))


def test_a_service_is_made_and_says_what_devices_need(tmp_path: Path) -> None:
    words = run("init", tmp_path / "service", "--name", "recommend.example", "--name", "192.0.2.7")
    folder = ServiceFolder(tmp_path / "service")
    assert load_service(folder).network.names == ("recommend.example", "192.0.2.7")
    assert str(folder.ca_certificate) in words
    assert str(folder.signing_key.with_suffix(".pub")) in words
    assert folder.operator_token.read_text().strip() not in words


def test_a_certificate_comes_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both --certificate and --key"):
        run("init", tmp_path / "service", "--certificate", tmp_path / "some.crt")


def test_a_catalogue_is_called_as_its_scenario_or_as_you_say(served: Path, dataset: Path, tmp_path: Path) -> None:
    assert ServiceFolder(served).names() == ["films"]
    made = answered("add-catalogue", served, dataset, "--scenario", tmp_path / "films.toml", "--as", "more-films")
    assert made["catalogue"] == "more-films"
    assert ServiceFolder(served).names() == ["films", "more-films"]


def test_a_folder_that_is_no_service_is_said(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "films.toml").write_text(SCENARIO)
    for command in (
        ("add-catalogue", tmp_path / "none", dataset, "--scenario", tmp_path / "films.toml"),
        ("status", tmp_path / "none"),
        ("check", tmp_path / "none"),
        ("renew", tmp_path / "none"),
        ("render", tmp_path / "none"),
        ("run", tmp_path / "none"),
    ):
        with pytest.raises(ConfigError, match="is no service"):
            run(*command)
    assert not (tmp_path / "none").exists()


def test_a_check_says_everything_and_fails_where_something_is_bad(served: Path) -> None:
    assert "films can be served" in run("check", served)
    (served / "keys" / "signing.key").chmod(0o644)
    findings = answered("check", served, code=1)["findings"]
    assert [finding["about"] for finding in findings if finding["verdict"] == "bad"] == ["permissions"]


def test_a_renewal_and_a_rendering_say_what_is_anew(served: Path) -> None:
    assert answered("renew", served)["days"] > 390
    config = served / "service.toml"
    config.write_text(re.sub(r"public_port = \d+", "public_port = 8443", config.read_text()))
    run("render", served)
    assert "listen 8443 ssl;" in (served / "deploy" / "nginx.conf").read_text()


def test_the_state_of_a_service_that_does_not_run_is_told_with_code_1(served: Path) -> None:
    found = answered("status", served, code=1)
    assert not found["running"]
    assert [each["phase"] for each in found["catalogues"]] == ["not begun"]
    assert "fedrec server run" in run("status", served, code=1)


def test_the_state_is_what_the_rounds_told(served: Path) -> None:
    standing = RoundStatus(
        catalogue="films", phase="waiting", round=2, rounds=9, needed=40, connected=31, replies=0,
        message="round 2 is waiting for 31 of 40 devices", since=1, updated_at=2,
    )  # fmt: skip
    with opened(served) as registry:
        tell(registry, standing)
    (found,) = answered("status", served, code=1)["catalogues"]
    assert (found["phase"], found["round"], found["message"]) == ("waiting", 2, standing.message)


@pytest.mark.parametrize(("command", "wish"), [("pause", "pause"), ("stop", "stop"), ("resume", "run")])
def test_what_an_operator_wishes_is_kept_with_the_reason(served: Path, command: str, wish: str) -> None:
    run("pause" if command == "resume" else "resume", served, "films")
    kept = answered(command, served, "films", "--why", "the disk is changed")
    assert (kept["wish"], kept["reason"]) == (wish, "the disk is changed")


@pytest.mark.parametrize("command", ["pause", "resume", "stop", "rollback", "releases"])
def test_a_catalogue_that_is_not_served_is_said(served: Path, command: str) -> None:
    with pytest.raises(ConfigError, match=r"serves no catalogue `filsm`. It serves: films\."):
        run(command, served, "filsm")


def test_devices_are_told_to_use_a_release_and_to_go_back(released: tuple[Path, list[str]]) -> None:
    service, (first, second, _) = released
    told = [
        answered("promote", service, "films", first),
        answered("promote", service, "films", second, "--why", "better"),
        answered("rollback", service, "films", "--why", "worse after all"),
    ]
    assert [each["manifest_hash"] for each in told] == [first, second, first]
    assert [each["reason"] for each in told] == ["promoted", "promoted", "rolled back"]
    assert told[0]["serial"] < told[1]["serial"] < told[2]["serial"]
    with opened(service) as registry:
        kept = [(each.act, each.release, each.reason) for each in actions(registry, "films")]
    assert kept[1:] == [("promote", second, "better"), ("roll back", first, "worse after all")]


def test_the_releases_are_listed_with_the_one_in_use(released: tuple[Path, list[str]]) -> None:
    service, hashes = released
    run("promote", service, "films", hashes[1])
    found = answered("releases", service, "films")["releases"]
    assert [each["in_use"] for each in found] == [False, True, False]
    assert run("releases", service, "films").count("in use") == 1


def test_a_release_that_is_not_there_cannot_be_promoted(released: tuple[Path, list[str]]) -> None:
    with pytest.raises((RefusedError, DataError)):
        run("promote", released[0], "films", "0" * 16)
