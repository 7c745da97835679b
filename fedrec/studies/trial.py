"""One run of a study: where it lies, and how it is brought to its end from wherever it stands."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fedrec.config import Scenario
from fedrec.data.dataset import Dataset
from fedrec.errors import ConfigError, FedrecError
from fedrec.files import write_atomically
from fedrec.studies.study import Settings, Study

# `search`: among settings that are tried; `chosen`: on the real data, with what the search on proxy data chose.
Part = Literal["search", "chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run of one setting with one seed.

    setting: names settings, data and engine alike. out: its run folder. device: where it computes, which changes no
    result but for the order of sums.
    """

    setting: str
    settings: Settings
    seed: int
    part: Part
    scenario: Scenario | None
    data: Path
    out: Path
    engine: str
    fault: str = ""

    @property
    def result(self) -> dict[str, Any] | None:
        """What a finished run printed; None before it is finished."""
        file = self.out / "result.json"
        if not file.exists():
            return None
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    @property
    def failure_file(self) -> Path:
        """Beside the run folder, which has to hold a run or nothing."""
        return self.out.with_name(f"{self.out.name}.failed")

    @property
    def failure(self) -> str:
        """The line that a failed run left; empty without."""
        if self.fault or not self.failure_file.exists():
            return self.fault
        return self.failure_file.read_text().strip()

    def finish(self, *, device: str = "cpu") -> str:
        """Bring the run to its end, going on where it stands; returns the one line of its failure, if it fails."""
        failure = self.fault or self._run(device)
        if failure and not self.fault:
            write_atomically(self.failure_file, f"{failure}\n".encode())
        elif not failure:
            self.failure_file.unlink(missing_ok=True)
        return failure

    def _run(self, device: str) -> str:
        # Lazily: torch and Flower take seconds, and the process that only waits needs neither.
        from fedrec.simulation.engines import engine_named
        from fedrec.simulation.run import Request, simulate

        if self.scenario is None:
            return self.fault
        request = Request(scenario=self.scenario, data=self.data, out=self.out, resume=True)
        try:
            simulate(request, engine_of=engine_named(self.engine, device=device))
        except FedrecError as error:
            return str(error).splitlines()[0]
        except OSError as error:
            return f"{error.strerror or type(error).__name__}: {error.filename or 'no file named'}"
        except Exception as error:  # one run's fault is no reason to lose the others
            return f"{type(error).__name__} at {_where()}"
        return ""


def trial_of(study: Study, folder: Path, settings: Settings, *, seed: int, part: Part, data: Path) -> Trial:
    """A run of a study; what its settings cannot be is kept as its fault."""
    scenario, fault = None, ""
    try:
        scenario = study.scenario_of(settings, seed=seed, name="trial")
    except ConfigError as error:
        fault = str(error)
    dataset = Dataset.open(data).info.hash
    setting = _hash(
        asdict(study.scenario_of({}, seed=0, name="trial")) if scenario is None else _unseeded(scenario),
        settings if scenario is None else {},
        dataset,
        study.config.engine,
    )
    return Trial(
        setting=setting,
        settings=settings,
        seed=seed,
        part=part,
        scenario=scenario,
        data=data,
        out=folder / "runs" / f"{setting}-s{seed}",
        engine=study.config.engine,
        fault=fault,
    )


def _unseeded(scenario: Scenario) -> Mapping[str, Any]:
    return asdict(scenario) | {"seed": 0}


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _where() -> str:
    """Module and line of the fault: its own message may quote data."""
    trace = sys.exc_info()[2]
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
