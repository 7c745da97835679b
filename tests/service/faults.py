"""What may happen to a service and its devices, drawn at random; each fault ends by itself."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.service.deployment import CATALOGUE, Deployment
from tests.service.wire import Wire

_WRONG_CLOCK = Path(__file__).with_name("wrong_clock.c")


class Kept:
    """A process that something like systemd starts again whenever it ends."""

    def __init__(self, command: list[object], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command, self._log = list(map(str, command)), log
        self._environment = os.environ | (environment or {})
        self._over = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def kill(self, *, whole_group: bool) -> None:
        """`kill -9`, of the process alone or of all that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                (os.killpg if whole_group else os.kill)(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """It is ended in order, and not started again."""
        self._over.set()
        process = self.process
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=40)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._thread.join()

    def _keep(self) -> None:
        while not self._over.is_set():
            with self._log.open("ab") as output:
                self.process = subprocess.Popen(
                    self._command, env=self._environment, stdout=output, stderr=output, start_new_session=True
                )
            self.starts += 1
            self.process.wait()
            self._over.wait(1.0)


class Faults:
    """The faults that this machine can have. service, devices: what runs; wire: between them."""

    def __init__(
        self, deployment: Deployment, service: Kept, devices: list[Kept], wire: Wire, *, small_disk: bool, clock: Path
    ) -> None:
        self._deployment, self._service, self._devices, self._wire = deployment, service, devices, wire
        self._clock = clock
        self.known: dict[str, Callable[[random.Random], None]] = {
            "kill the SuperLink": lambda _: self._kill_program("superlink"),
            "kill the SuperExec": lambda _: self._kill_program("superexec"),
            "kill the front": lambda _: self._kill_program("front"),
            "kill the keeper of the rounds": lambda _: self._kill_program("rounds"),
            "kill the ServerApp": lambda _: self._kill_server_app(),
            "tear the ledger": self._tear_ledger,
            "the machine loses power": lambda _: self._lose_power(),
            "kill the supervisor": lambda _: self._service.kill(whole_group=False),
            "kill a device": lambda rng: rng.choice(self._devices).kill(whole_group=rng.random() < 0.5),
            "kill every device": lambda _: [each.kill(whole_group=True) for each in self._devices] and None,
            "cut the network": self._cut,
            "slow the network down": self._delay,
        }
        if small_disk:
            self.known["fill the disk"] = self._fill
        if clock.exists():
            self.known["the clock jumps"] = self._jump

    def draw(self, rng: random.Random, count: int) -> list[str]:
        """Names in a random order, each kind once before any comes again."""
        drawn: list[str] = []
        while len(drawn) < count:
            drawn += rng.sample(sorted(self.known), len(self.known))
        return drawn[:count]

    def _kill_program(self, name: str) -> None:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            programs = json.loads(self._deployment.service.state.read_text())["programs"]
            pid = next(each["pid"] for each in programs if each["name"] == name)
            if pid:
                os.kill(pid, signal.SIGKILL)

    def _kill_server_app(self) -> None:
        for pid in server_apps(self._deployment):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _tear_ledger(self, rng: random.Random) -> None:
        """As a power cut in the middle of a write leaves it: the start of a line that nobody was told of."""
        self._kill_server_app()
        ledger = self._deployment.service.catalogue(CATALOGUE).run / "ledger.jsonl"
        if ledger.exists():
            with ledger.open("ab") as file:
                file.write(b'{"event": {"kind": "update", "participants": [0, 1], "ro'[: rng.randrange(1, 50)])

    def _lose_power(self) -> None:
        """Everything of the service at once, whatever group it is in."""
        self._service.kill(whole_group=True)
        for pid in of_service(self._deployment):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _cut(self, rng: random.Random) -> None:
        self._wire.cut()
        time.sleep(rng.uniform(0, 12))
        self._wire.mend()

    def _delay(self, rng: random.Random) -> None:
        self._wire.delay = rng.uniform(0.1, 1.0)
        time.sleep(rng.uniform(2, 15))
        self._wire.mend()

    def _fill(self, rng: random.Random) -> None:
        ballast = self._deployment.service.path.parent / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(rng.uniform(1, 15))
        ballast.unlink()

    def _jump(self, rng: random.Random) -> None:
        """The service's clock is wrong for a while, by up to a day and a half; then it is set right."""
        _write_clock(self._clock, rng.choice([-1, 1]) * rng.randrange(60, 130_000))
        time.sleep(rng.uniform(2, 15))
        _write_clock(self._clock, 0)


def clock_environment(clock: Path) -> dict[str, str]:
    """What makes processes follow a clock that is wrong by what a file says; nothing where no compiler is."""
    compiler, library = shutil.which("cc"), clock.with_suffix(".so")
    if compiler is None:
        return {}
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, _WRONG_CLOCK], check=True)
    clock.write_bytes(bytes(8))
    return {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(clock)}


def server_apps(deployment: Deployment) -> list[int]:
    """The processes that run a ServerApp of this service."""
    return [pid for pid in of_service(deployment) if b"flwr-serverapp" in _read(pid, "cmdline")]


def of_service(deployment: Deployment) -> list[int]:
    """Every process of this service, by the mark that its environment carries."""
    mark = str(deployment.service.path.resolve()).encode() + b"\0"
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if b"=" + mark in _read(pid, "environ") and pid != os.getpid()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _write_clock(clock: Path, seconds: int) -> None:
    """In place: processes look at these eight bytes through their own memory."""
    with clock.open("r+b") as file:
        file.write(struct.pack("q", seconds))
