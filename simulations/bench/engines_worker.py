"""A process of the benchmark of engines as its conductor sees it: asked for rounds, one line each, and looked at."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Rounds before those that count: for caches, allocators, the lazy parts of frameworks.
WARM = 1
# A turn is rounds for about so long, and one at least.
TURN_SECONDS = 0.5
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Worker:
    """An engine that waits for its turn. Of each kind of work seconds, processor seconds, and the most memory."""

    name: str
    process: "subprocess.Popen[str]"
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def wait(self) -> None:
        """Until it is ready."""
        self._answer()

    def turn(self, kind: str, *, save: Path | None = None) -> None:
        """Rounds for as long as a turn is; the first one of all, which `save` is for, is a turn by itself."""
        number, before = self.asked.get(kind, 0) + 1, _cpu_seconds(self.process.pid)
        warm = number > WARM
        asked = {"kind": kind, "number": number, "save": save and str(save), "seconds": TURN_SECONDS if warm else 0}
        found = self._ask(asked)
        rounds = found["rounds"]
        self.asked[kind] = number + len(rounds) - 1
        if warm:
            self.seconds.setdefault(kind, []).extend(each["seconds"] for each in rounds)
            # Who does everything in one process has measured it more finely.
            spent = (_cpu_seconds(self.process.pid) - before) / len(rounds)
            self.cpu.setdefault(kind, []).extend(each.get("cpu", spent) for each in rounds)
        self.peak_mib[kind] = max(found["peak_mib"], _peak_mib(self.process.pid))

    def count(self, kind: str) -> int:
        """Floating-point operations of a round's products, as torch counts them."""
        return int(self._ask({"kind": kind, "number": 10**9, "count": True})["rounds"][0]["flop"])

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit(f"The engine {self.name} stopped: this measures nothing. Its own words are above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[Worker]:
    """A process that has ended when the block ends."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Worker(name, process)
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _peak_mib(process: int) -> float:
    """The most resident memory that each process under this one held, added up."""
    found = 0.0
    for each in _family(process):
        try:
            lines = (Path("/proc") / str(each) / "status").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        found += next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    return found


def _cpu_seconds(process: int) -> float:
    """Processor time of this process and all under it."""
    return sum(sum(map(int, fields[11:13])) for fields in map(_stat, _family(process)) if fields) / _TICK


def _family(process: int) -> set[int]:
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    parents = {number: int(fields[1]) for number in numbers if (fields := _stat(number))}
    family, grown = {process}, True
    while grown:
        children = {each for each, parent in parents.items() if parent in family} - family
        family, grown = family | children, bool(children)
    return family


def _stat(process: int) -> list[str]:
    """What the kernel says of a process behind its name; nothing of one that has ended."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
