"""How long the stages of a run take, for whoever asked to know: nothing is measured otherwise."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrec.files import write_atomically

_MICROSECONDS = 1e6


@dataclass(slots=True)
class Stages:
    """Stages as they were passed through, one within another. spans: name, seconds of the begin, seconds it took."""

    began: float = field(default_factory=time.perf_counter)
    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def totals(self) -> dict[str, tuple[int, float]]:
        """How often each stage was passed through and how many seconds it took in all; the longest first."""
        found: dict[str, list[float]] = defaultdict(list)
        for name, _, seconds in self.spans:
            found[name].append(seconds)
        longest = sorted(found.items(), key=lambda item: -sum(item[1]))
        return {name: (len(seconds), sum(seconds)) for name, seconds in longest}

    def write(self, file: Path) -> None:
        """A trace in the format of Chrome, which chrome://tracing and ui.perfetto.dev open."""
        events: list[dict[str, Any]] = [
            {"name": name, "ph": "X", "pid": 1, "tid": 1, "ts": at * _MICROSECONDS, "dur": seconds * _MICROSECONDS}
            for name, at, seconds in sorted(self.spans, key=lambda span: (span[1], -span[2]))
        ]
        write_atomically(file, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}).encode())


_CURRENT: ContextVar[Stages | None] = ContextVar("stages", default=None)


@contextmanager
def measured() -> Iterator[Stages]:
    """Stages are measured until the end of the block."""
    stages = Stages()
    token = _CURRENT.set(stages)
    try:
        yield stages
    finally:
        _CURRENT.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What happens in the block is a stage of the run."""
    stages = _CURRENT.get()
    if stages is None:
        yield
        return
    began = time.perf_counter()
    try:
        yield
    finally:
        stages.spans.append((name, began - stages.began, time.perf_counter() - began))
