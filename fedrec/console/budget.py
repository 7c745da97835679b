"""What a catalogue's rounds have spent and what is left, from its own ledger: computed anew only when that grew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from fedrec.config import Scenario
from fedrec.config_file import load_scenario
from fedrec.errors import FedrecError
from fedrec.privacy.ledger import read_events
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import Spend
from fedrec.reporting.privacy.words import epsilon_words, trust_sentence
from fedrec.secagg.planned import plan_of
from fedrec.service.folder import CatalogueFolder

_LEDGER = "ledger.jsonl"
_HUNDREDTHS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """epsilon, budget, left, planned: at `delta`, of the client that spent most; None where nothing bounds it.

    planned: after all rounds of the scenario. words: what an operator reads. fault: why
    nothing can be said. guarantee: whether all noise was secret.
    """

    mode: str
    words: str
    unit: str = ""
    epsilon: float | None = None
    budget: float | None = None
    left: float | None = None
    planned: float | None = None
    delta: float | None = None
    guarantee: bool = False
    fault: str = ""


@dataclass(slots=True)
class Budgets:
    """Budgets by catalogue, each kept until its ledger or its scenario is another file."""

    _kept: dict[Path, tuple[object, Budget]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, catalogue: CatalogueFolder) -> Budget:
        """The budget of a catalogue; one that cannot be read says so, it raises nothing."""
        ledger = catalogue.run / _LEDGER
        # A ledger only grows: its size stands for its head until the file is another one.
        now = (_stamp(ledger), _stamp(catalogue.scenario))
        with self._lock:
            kept = self._kept.get(catalogue.path)
            if kept is None or kept[0] != now:
                kept = self._kept[catalogue.path] = (now, _read(catalogue.scenario, ledger))
            return kept[1]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(scenario_file: Path, ledger: Path) -> Budget:
    try:
        scenario = load_scenario(scenario_file)
        plan = plan_of(scenario)
        if plan is None:
            return Budget(mode="none", words="NOT PRIVATE: no noise is added, so nothing bounds what a release tells.")
        return _budget(scenario, plan, read_events(ledger), run=ledger.parent)
    except (FedrecError, OSError) as error:
        words = str(error) if isinstance(error, FedrecError) else f"{ledger.name} cannot be read ({error.strerror})."
        return Budget(mode="unknown", words="What was spent is not known.", fault=words)


def _budget(scenario: Scenario, plan: PrivacyPlan, events: Sequence[dict[str, Any]], *, run: Path) -> Budget:
    # Lazily: the accountants take a second and a hundred megabytes.
    from fedrec.privacy.accounting import composed, spending_by_client, worst_epsilon

    before = _before(scenario, plan, run=run)

    def epsilon_of(*spendings: Sequence[Spend]) -> float:
        return worst_epsilon([composed([*before, *spends]) for spends in spendings], delta=plan.delta)

    each = [[spend for spend, count in own for _ in range(count)] for own in set(spending_by_client(events).values())]
    epsilon = epsilon_of([], *each)
    planned = max(epsilon, epsilon_of(plan.spends(plan.limits.most)))
    limit = scenario.budget.epsilon
    return Budget(
        mode=plan.mode,
        words=f"{_words(epsilon, planned, limit)} {trust_sentence(plan.mode)}",
        unit=plan.unit_text(),
        epsilon=_up(epsilon),
        budget=limit,
        left=None if limit is None else max(0.0, _down(limit - epsilon)),
        planned=_up(planned),
        delta=plan.delta,
        guarantee=scenario.privacy.noise == "system" and all(event["guarantee"] for event in events),
    )


def _before(scenario: Scenario, plan: PrivacyPlan, *, run: Path) -> list[Spend]:
    """What was spent on the same people in the runs that the scenario names."""
    if not scenario.budget.earlier_runs:
        return []
    from fedrec.reporting.privacy.earlier import runs_before

    runs = runs_before(plan, map(Path, scenario.budget.earlier_runs), own=run)
    return [spend for run in runs for spend, count in run.spending for _ in range(count)]


def _words(epsilon: float, planned: float, limit: float | None) -> str:
    """What an operator reads beside the numbers."""
    if not epsilon:
        said = "Nothing is spent yet."
    else:
        said = f"On the usual scale, what is spent so far is {epsilon_words(epsilon)} privacy."
    if limit is None:
        return f"{said} No budget is set; all planned rounds come to {_up(planned):.2f}."
    if epsilon >= limit:
        return f"{said} The budget is used up for those that took part most: they are asked no more."
    return f"{said} All planned rounds come to {_up(planned):.2f} of {limit:.2f}."


def _up(epsilon: float) -> float:
    """Rounded up: never shown below what was spent."""
    return math.ceil(epsilon * _HUNDREDTHS) / _HUNDREDTHS


def _down(epsilon: float) -> float:
    return math.floor(epsilon * _HUNDREDTHS) / _HUNDREDTHS
