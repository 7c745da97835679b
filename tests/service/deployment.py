"""A whole service with real processes, for tests: what an operator and the owners of devices would type."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.registry.registry import Registry
from fedrec.service.config import artifacts_url, database_url, load_service
from fedrec.service.folder import ServiceFolder
from tests.federation.superlinks import free_port

BIN = Path(sys.executable).parent
NGINX = Path("/usr/sbin/nginx")
CATALOGUE = "world"
SCENARIO = """name = "world"
seed = 5
[adapter]
ranks = {{ history_proj = 8 }}
[federation]
rounds = {rounds}
cohort = 4
min_replies = 1
timeout = {timeout}
server_optimizer = "fedavg"
server_rate = 1.0
release_every = 1
[privacy]
mode = "{mode}"
unit = "USER"
clip_norm = 0.5
noise_multiplier = {noise}
delta = 1e-6
participations = {cap}
[evaluation]
baselines = []
non_private_twin = false
[secure_aggregation]
drop_out = 0.25
corruption = 0.0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is deployed. mode: where the noise is added; a cohort under masks may lose one of four. cap: participations
    of a client.
    """

    devices: int = 4
    rounds: int = 3
    cap: int = 3
    noise: float = 4.0
    timeout: float = 60.0
    mode: str = "central"
    settings: dict[str, str] = field(default_factory=dict)


class Deployment:
    """A service and its devices under one folder. environment: of the service's processes, beside the machine's."""

    def __init__(self, root: Path, plan: Plan, *, service: Path | None = None) -> None:
        self.root, self.plan = root, plan
        self.service = ServiceFolder(service or root / "service")
        self.public_port = free_port()
        self.world = root / "world"
        self.devices = [root / f"device-{number}" for number in range(plan.devices)]
        self.environment: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where devices reach the proxy."""
        return f"localhost:{self.public_port}"

    @property
    def source(self) -> tuple[object, ...]:
        """The words that name where releases come from."""
        return ("--from", f"https://{self.address}", "--ca", self.service.ca_certificate, "--catalogue", CATALOGUE)

    def prepare(self) -> None:
        """A service with one catalogue, its run not begun."""
        write_world(self.world, users=self.plan.devices + 2, items=60, seed=3)
        ports = ("--port", self.public_port, "--fleet-port", free_port(), "--front-port", free_port())
        self.fedrec("server", "init", self.service.path, "--name", "localhost", *ports)
        settings = self.service.config
        text = settings.read_text().replace("poll = 3.0", "poll = 1.0").replace('"operator"', '"newest"')
        settings.write_text(text)
        scenario = self.root / "scenario.toml"
        plan = self.plan
        given = {name: getattr(plan, name) for name in ("rounds", "cap", "noise", "timeout", "mode")}
        scenario.write_text(SCENARIO.format(**given))
        self.fedrec("server", "add-catalogue", self.service.path, self.world, "--scenario", scenario, "--as", CATALOGUE)

    def fedrec(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What a command says; its one line of error is shown where the test fails."""
        done = subprocess.run(
            [BIN / "fedrec", *map(str, words)], capture_output=True, text=True, check=False, timeout=240
        )
        if check and done.returncode:
            raise AssertionError(f"fedrec {' '.join(map(str, words))}: {done.stderr}")
        return done

    def json(self, *words: object) -> Any:
        """What a command prints with --json."""
        return json.loads(self.fedrec(*words, "--json").stdout)

    def make_device(self, number: int, *, willing: bool = True) -> Path:
        """One person's device: a release from the service, that person's events, and a yes."""
        device = self.devices[number]
        key = self.service.signing_key.with_suffix(".pub")
        self.fedrec("client", "init", device, "--key", key, *self.source, "--keys", "file")
        dataset = Dataset.open(self.world)
        events = self.root / f"events-{number}.jsonl"
        rows = dataset.user_events([dataset.user_ids()[number]]).drop("user_id").iter_rows(named=True)
        events.write_text("".join(json.dumps(row) + "\n" for row in rows))
        record_events(device, events)
        if willing:
            agree(device)
        return device

    def enrol(self, device: Path) -> int:
        """The device is a client of the service; returns its number."""
        request = device.with_suffix(".request.json")
        self.fedrec("client", "enrol", device, "--out", request)
        found = self.json("server", "enrol", self.service.path, request, "--catalogue", CATALOGUE, "--yes")
        return int(found["nodes"][-1]["client"])

    def registry(self) -> Registry:
        """The service's registry, opened beside it."""
        config = load_service(self.service)
        return Registry.open(database_url(self.service, config), artifacts=artifacts_url(self.service, config))

    @contextmanager
    def running(self, command: list[object], log: str, *, quietly: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """A process with its children, until the end of the block."""
        with (self.root / log).open("ab") as output:
            process = subprocess.Popen(
                list(map(str, command)),
                env=os.environ | self.environment,
                stdout=output,
                stderr=subprocess.DEVNULL if quietly else output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """The service and its proxy run."""
        proxy = [NGINX, "-p", self.service.path / "proxy", "-c", self.service.path / "deploy" / "nginx.conf"]
        with ExitStack() as stack:
            run = stack.enter_context(self.running([BIN / "fedrec", "server", "run", self.service.path], "server.log"))
            stack.enter_context(self.running(list(proxy), "proxy.log"))
            yield run

    def taking_part(self, device: Path, *, port: int | None = None, ca: Path | None = None) -> list[object]:
        """The command that makes a device take part."""
        address = f"localhost:{port or self.public_port}"
        words = ("--server", address, "--ca", ca or self.service.ca_certificate, "--json")
        return [BIN / "fedrec", "client", "run", device, *words]

    def refusal(self, device: Path, *, ca: Path | None = None) -> str:
        """The one line that a device is refused with, which then takes part no more."""
        done = subprocess.run(
            list(map(str, self.taking_part(device, ca=ca))), capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode != 1:
            raise AssertionError(f"not refused: {done.stdout} {done.stderr}")
        return done.stderr

    def rounds(self) -> list[dict[str, Any]]:
        """The records of finished rounds, as the run folder has them."""
        file = self.service.catalogue(CATALOGUE).run / "rounds.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def record_events(device: Path, events: Path) -> None:
    """Everything that a person did is in the device's store."""
    from fedrec.data.events import Event, Kind
    from fedrec.data.store.store import Store

    with Store.open(device) as store, store.transaction():
        for line in events.read_text().splitlines():
            row = json.loads(line)
            store.add_event(Event(user_id="me", kind=Kind(row.pop("kind")), **row))


def agree(device: Path) -> None:
    """The owner's yes, whatever the device is doing."""
    from fedrec.data.store.store import Store
    from fedrec.ondevice.participation import Conditions, opt_in
    from fedrec.ondevice.releases import active

    always = Conditions(idle=False, charging=False, unmetered=False)
    with Store.open(device) as store:
        opt_in(store, active(device).manifest, now=time.time(), conditions=always)


def until(true: Callable[[], bool], *, within: float = 240.0, what: str) -> None:
    """Wait for something that has to happen; a test that waits longer has failed."""
    end_at = time.monotonic() + within
    while not true():
        if time.monotonic() > end_at:
            raise AssertionError(f"Not within {within:g} s: {what}")
        time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    """The process and its group are gone; asked first, so that a service ends what it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
