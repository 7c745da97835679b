"""A service with its real processes, of which each is killed: it comes back, and a stop leaves nothing behind."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedrec.registry.control import wished
from fedrec.service.orphans import MARK
from fedrec.service.telling import told
from fedrec.service.turns import is_served
from tests.service.deployment import BIN, CATALOGUE, Deployment, Plan, end, until

pytestmark = [pytest.mark.deploy, pytest.mark.slow, pytest.mark.timeout(900)]

_PROGRAMS = ("superlink", "superexec", "front", "rounds")


class _Running:
    """A service whose rounds wait for devices that never come."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.folder = deployment.service
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.deployment.root / "server.log").open("ab") as output:
            return subprocess.Popen(
                [BIN / "fedrec", "server", "run", self.folder.path],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start_again(self) -> None:
        self.process = self._start()

    def pids(self) -> dict[str, int | None]:
        """The process of each program, and of the rounds themselves; None where there is none."""
        found = {each["name"]: each["pid"] for each in told(self.folder.state).get("programs", [])}
        found["serverapp"] = next(iter(self._of("flwr-serverapp")), None)
        return found

    def _of(self, program: str) -> list[int]:
        return [pid for pid in marked(self.folder.path) if program.encode() in command_of(pid)]

    def is_well(self) -> bool:
        """Whether every program answers and the rounds are served."""
        found = told(self.folder.state).get("programs", [])
        running = [each["name"] for each in found if each["state"] == "running"]
        return sorted(running) == sorted(_PROGRAMS) and is_served(self.folder.catalogue(CATALOGUE))

    def wait(self, what: str) -> None:
        until(self.is_well, what=what)


def marked(folder: Path) -> list[int]:
    """Every process that this service started, also after it was killed itself."""
    mark = f"{MARK}={folder.resolve()}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def command_of(pid: int) -> bytes:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Running]:
    deployment = Deployment(tmp_path_factory.mktemp("running"), Plan(devices=4))
    deployment.prepare()
    running = _Running(deployment)
    try:
        running.wait("the service runs")
        yield running
    finally:
        end(running.process)
        for pid in marked(deployment.service.path):
            os.kill(pid, signal.SIGKILL)


def test_what_the_service_and_flower_make_is_the_owners_alone(service: _Running) -> None:
    folder = service.folder
    databases = [path for path in folder.path.iterdir() if ".db" in path.name]
    assert {"superlink.db", "registry.db"} <= {path.name for path in databases}
    secrets = [path for path in folder.keys.iterdir() if path.suffix not in (".crt", ".pub")]
    told_to_each_other = [folder.state, folder.runs, folder.lock]
    closed = [*databases, *secrets, *told_to_each_other, *folder.logs.iterdir()]
    assert [str(path) for path in closed if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_second_service_on_the_same_folder_is_refused(service: _Running) -> None:
    before = service.pids()
    second = service.deployment.fedrec("server", "run", service.folder.path, check=False)
    assert second.returncode == 1
    assert "is served already" in second.stderr
    assert service.pids() == before


def test_the_superlink_is_reached_on_loopback_only(service: _Running) -> None:
    command = command_of(service.pids()["superlink"] or 0).split(b"\0")
    assert command[command.index(b"--host") + 1] == b"127.0.0.1"
    assert b"--enable-supernode-auth" in command
    assert b"--disable-runtime-dependency-installation" in command


def test_an_operator_sees_that_it_waits_and_for_whom(service: _Running) -> None:
    def seen() -> dict[str, Any]:
        found = service.deployment.json("server", "status", service.folder.path)
        assert found["running"]
        (catalogue,) = found["catalogues"]
        return catalogue

    # Who keeps the rounds looks at them now and then.
    until(lambda: seen()["process"] == "serving", what="the rounds are seen to be served")
    assert seen()["phase"] == "waiting"
    assert "waiting for 0 of" in seen()["message"]
    assert service.deployment.json("server", "check", service.folder.path)["findings"]


@pytest.mark.parametrize("name", ["front", "rounds", "serverapp", "superexec", "superlink"])
def test_whatever_is_killed_comes_back(service: _Running, name: str) -> None:
    service.wait("the service runs")
    before = service.pids()[name]
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: service.pids()[name] not in (before, None), what=f"another {name}")
    service.wait("all of it runs again")
    # One process of the rounds, never two.
    until(lambda: len(service._of("flwr-serverapp")) == 1, what="the old process of the rounds is gone")


def test_a_service_that_was_killed_leaves_nothing_that_the_next_one_does_not_end(service: _Running) -> None:
    service.wait("the service runs")
    old = set(marked(service.folder.path))
    service.process.kill()
    service.process.wait()
    service.start_again()
    until(lambda: not old & set(marked(service.folder.path)), what="the old processes are gone")
    service.wait("the next service runs")


def test_what_the_operator_stops_ends_and_goes_on_again(service: _Running) -> None:
    service.wait("the service runs")
    service.deployment.fedrec("server", "stop", service.folder.path, CATALOGUE, "--why", "a test")
    until(lambda: not is_served(service.folder.catalogue(CATALOGUE)), what="the rounds end")
    with service.deployment.registry() as registry:
        assert wished(registry, CATALOGUE).reason == "a test"
    service.deployment.fedrec("server", "resume", service.folder.path, CATALOGUE)
    service.wait("the rounds go on")


def test_a_stop_leaves_nobody_behind_and_once_ends_by_itself(service: _Running) -> None:
    service.wait("the service runs")
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert marked(service.folder.path) == []
    assert service.deployment.fedrec("server", "status", service.folder.path, check=False).returncode == 1
    service.deployment.fedrec("server", "stop", service.folder.path, CATALOGUE)
    service.deployment.fedrec("server", "run", service.folder.path, "--once")
    assert marked(service.folder.path) == []
