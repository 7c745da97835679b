"""Where the time of a deployed round goes: a whole service on loopback, its proxy, and devices that take part."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.registry.status import finished_rounds
from tests.service.deployment import CATALOGUE, Deployment, Plan, until
from tests.service.wire import Wire

DEVICES = 4
# Bytes that follow each other faster than this belong to one exchange.
_PAUSE_SECONDS = 0.25


def deployed(*, rounds: int) -> dict[str, Any]:
    """Median seconds of a round after the first, and what they were spent on, as one device and the server saw it."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        deployment = Deployment(Path(scratch), Plan(devices=DEVICES, rounds=rounds, cap=rounds, noise=10.0))
        deployment.prepare()
        stack.enter_context(deployment.serving())
        registry = stack.enter_context(deployment.registry())
        until(lambda: registry.current(CATALOGUE) is not None, what="the first release is served")
        wire = stack.enter_context(Wire(deployment.public_port))
        for number in range(DEVICES):
            device = deployment.make_device(number)
            deployment.enrol(device)
            command = deployment.taking_part(device, port=None if number else wire.port)
            stack.enter_context(deployment.running(command, f"device-{number}.log"))
        until(lambda: len(finished_rounds(registry, CATALOGUE)) == rounds, within=600, what="all rounds")
        done = finished_rounds(registry, CATALOGUE)
        asked = _asked(deployment.service.logs / f"rounds-{CATALOGUE}.log")
        answered = _answered(Path(scratch) / "device-0.log")
    split = [
        _split(each.seconds, answer, transport=busy(wire.passed, *window))
        for each, answer, window in zip(done, answered, asked, strict=True)
    ][1:]
    return {name: float(np.median([each[name] for each in split])) for name in split[0]}


def busy(passed: Sequence[tuple[float, int]], start: float, end: float) -> float:
    """Seconds of an interval in which bytes were on their way.

    >>> busy([(1.0, 9), (1.1, 9), (5.0, 9), (5.2, 9), (9.0, 9)], 0.0, 6.0)
    0.3
    """
    moments = [moment for moment, _ in passed if start <= moment <= end]
    gaps = np.diff(moments)
    return round(float(gaps[gaps <= _PAUSE_SECONDS].sum()), 6)


def _split(phases: Any, answer: dict[str, float], *, transport: float) -> dict[str, float]:
    """compute: on the device and on the server. waiting: for the next look at what came, on every side."""
    server = phases.get("noising", 0.0) + phases.get("publishing", 0.0)
    total = phases.get("asking", 0.0) + server
    compute = server + answer["app"]
    waiting = max(0.0, total - compute - answer["start"] - transport)
    return {"total": total, "waiting": waiting, "transport": transport, "start_up": answer["start"], "compute": compute}


def _asked(log: Path) -> list[tuple[float, float]]:
    """From when to when each round's devices were asked, in UTC seconds."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    phases = {phase: [_moment(line) for line in lines if line.get("phase") == phase] for phase in ("asking", "noising")}
    return list(zip(phases["asking"], phases["noising"], strict=True))


def _moment(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def _answered(log: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "answered"]
