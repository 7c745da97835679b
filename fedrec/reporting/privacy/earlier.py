"""The runs before a run on the same people: all that it names, and all that those name, verified."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedrec.errors import ConfigError
from fedrec.privacy.accounting import Spending, composed
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.statement import most_spent
from fedrec.reporting.privacy.assumptions import secret_noise
from fedrec.reporting.privacy.evidence import Evidence, read_evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A run on the same people, bounded by the most that anybody spent in it in each kind of spend."""

    evidence: Evidence
    spending: Spending

    @property
    def guarantee(self) -> bool:
        """Whether all of its noise was secret."""
        return secret_noise(self.evidence).state == "met"


def runs_before(
    plan: PrivacyPlan | None, named: Iterable[Path], *, own: Path, head: str | None = None
) -> list[EarlierRun]:
    """The runs that are named, and those that their own settings name, each once and verified.

    plan: what they are added to. own: the folder of the run itself, and head: the head of its
    ledger; both are left out where an earlier run names them.
    Raises ConfigError for a folder that is no run, a ledger that is named twice, a run of
    another unit and one without noise (nothing bounds the two together), and what
    `read_evidence` raises for a run whose records disagree.
    """
    waiting = deque((path, True) for path in named)
    places: set[Path] = set()
    heads = {head}
    found = []
    while waiting:
        path, asked = waiting.popleft()
        place = path.resolve()
        if place in places or (place == own.resolve() and not asked):
            continue
        places.add(place)
        other = _addable(path, plan)
        if asked and (other.head in heads or place == own.resolve()):
            raise ConfigError(f"{path} has the ledger of a run that is counted already. Name each run once.")
        if other.head not in heads:
            found.append(EarlierRun(evidence=other, spending=composed(most_spent(other.events))))
        heads.add(other.head)
        waiting.extend((Path(name), False) for name in other.scenario.budget.earlier_runs)
    return found


def _addable(path: Path, plan: PrivacyPlan | None) -> Evidence:
    other = read_evidence(path)
    if plan is None or other.plan is None:
        raise ConfigError(
            f"{path} has no noise, or this run has none: no epsilon bounds the two together. Name only private runs, "
            "before a private one."
        )
    if other.plan.unit != plan.unit:
        raise ConfigError(
            f"{path} protects a {other.plan.unit}, this run a {plan.unit}: their epsilons cannot be added. "
            "Name runs of the same unit."
        )
    return other
