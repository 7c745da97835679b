"""What an audit found, as an object and as its record, `audit.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fedrec.audit.bench import DELTA, audited_plan
from fedrec.audit.checks import Check
from fedrec.audit.evidence import FIT_CONFIDENCE, ONE_RUN_CONFIDENCE, CanaryBounds
from fedrec.audit.faults import FAULTS
from fedrec.privacy_config import Mode

NO_PROOF = (
    "Passing is no proof of privacy: an audit bounds the leak from below, on what it looked at. "
    "The guarantee rests on the mechanism and its accounting."
)
NOT_COVERED = (
    "amplification by Poisson batches: local mode is audited at sampling rate 1, and of the coins only their rate",
    "composition over several rounds of one client: every canary takes part in one round",
    "noise on popularity and metrics that is left out only where there are data: it is looked at on silent releases",
    "what is published beside adapters, popularity and metrics: release folders, their cards, reports, logs",
    "the validation scores on record, which the laboratory measures on its own data and no device sends",
    "timing: `seconds` of a round, when a reply comes, and who takes part",
    "attempts after an interruption: replies are compared on rounds that ran through, asked once and once again",
    "floating point: the grid of the noise is not hidden, and no canary looks for it",
)
NOT_COVERED_UNDER_MASKS = (
    "masks, shares of secrets, drop-outs and who colludes: words are added up without masks, and all are honest",
    "records, ledgers and what clients answer at each stage: they are not held against rounds without data",
)


def not_covered(mode: Mode) -> tuple[str, ...]:
    """What an audit of a mode does not look at, one line each."""
    return NOT_COVERED + (NOT_COVERED_UNDER_MASKS if mode == "distributed" else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Whether a planted fault was noticed by its detector; found: the figure that tells."""

    detector: str
    caught: bool
    found: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """fault: the one that was put into the path, if any; the controls then hold it alone."""

    mode: Mode
    seed: int
    canaries: int
    reported_epsilon: float
    bounds: CanaryBounds
    checks: tuple[Check, ...]
    controls: Mapping[str, Control]
    fault: str | None

    @property
    def alarms(self) -> list[str]:
        """What is wrong with the path, in words."""
        failed = [f"{check.what}: {check.found:.3g}" for check in self.checks if not check.passed]
        if self.bounds.largest > self.reported_epsilon:
            shown = f"canaries show an epsilon of at least {self.bounds.largest:.2f}"
            return [f"{shown}, and {self.reported_epsilon:.2f} is reported", *failed]
        return failed

    @property
    def missed(self) -> list[str]:
        """The faults that their detector did not notice."""
        return [name for name, control in self.controls.items() if not control.caught]

    @property
    def passed(self) -> bool:
        """The path raised no alarm, and no fault was missed."""
        return not self.alarms and not self.missed

    @property
    def exit_code(self) -> int:
        """1 when the audit failed, and always with a fault in the path."""
        return 0 if self.passed and self.fault is None else 1

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        if self.fault is not None:
            planted = f"The fault `{self.fault}` was put into the path ({FAULTS[self.fault].what})"
            if self.missed:
                return f"{planted} and its detector DID NOT NOTICE: this audit is blind to it. Report it."
            return f"{planted} and was noticed: {'; '.join(self.alarms)}."
        if self.alarms:
            return f"FAILED: {'; '.join(self.alarms)}. Release nothing on this path until the cause is found."
        if self.missed:
            return f"FAILED: planted faults were not noticed ({', '.join(self.missed)}): this audit shows nothing."
        return f"Passed: no alarm on the path, and all {len(self.controls)} planted faults were noticed. {NO_PROOF}"

    def as_json(self) -> dict[str, Any]:
        """Its record."""
        plan = audited_plan(self.mode, clients=self.canaries)
        return {
            "reported_epsilon": self.reported_epsilon,
            "lower_bound": self.bounds.one_run,
            "gaussian_fit_bound": self.bounds.gaussian_fit,
            "passed": self.passed,
            "controls": {name: asdict(control) for name, control in self.controls.items()},
            "checks": {check.name: check.as_json() for check in self.checks},
            "mode": self.mode,
            "seed": self.seed,
            "fault": self.fault,
            "delta": DELTA,
            "confidence": {"lower_bound": ONE_RUN_CONFIDENCE, "gaussian_fit_bound": FIT_CONFIDENCE},
            "shown_by": {"lower_bound": self.bounds.one_run_from, "gaussian_fit_bound": self.bounds.gaussian_fit_from},
            "canaries": self.canaries,
            "audited": {"clip_norm": plan.clip_norm, **asdict(plan.participation)},
            "not_covered": list(not_covered(self.mode)),
            "statement": self.statement,
        }
