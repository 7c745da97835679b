"""What utility costs, from stored studies: what was run and satisfies, and never anything in between or beyond."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec.errors import ConfigError
from fedrec.reporting.figures import count_text, delta_text, epsilon_text, share
from fedrec.studies.outcome import Outcome, outcomes_of
from fedrec.studies.table import read_table
from fedrec.studies.wanted import Wanted

_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Settings that satisfy, best utility first; of these, the front; and the nearest where none does.

    asked: what was wanted. stored: how many settings were looked at. notes: what the stored runs cannot say.
    """

    wanted: Wanted
    stored: int
    satisfying: tuple[Outcome, ...]
    front: tuple[Outcome, ...]
    nearest: tuple[Outcome, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "asked": {**dict(self.wanted.limits()), "at_least": self.wanted.at_least},
            "stored": self.stored,
            "satisfying": [outcome.as_json() for outcome in self.satisfying],
            "pareto": [outcome.as_json() for outcome in self.front],
            "nearest": [outcome.as_json() for outcome in self.nearest],
            "notes": list(self.notes),
        }


def stored_outcomes(folders: Sequence[Path]) -> list[Outcome]:
    """The settings of these studies with a finished run. Raises DataError where there are none."""
    return [outcome for folder in folders for outcome in outcomes_of(read_table(folder))]


def answer(outcomes: Sequence[Outcome], wanted: Wanted) -> Answer:
    """Which stored settings satisfy; nothing is interpolated, and nothing beyond what was run is said."""
    if not outcomes:
        raise ConfigError("The stored studies hold no finished run. Run one with `fedrec simulate STUDY.toml`.")
    ranked = sorted(outcomes, key=lambda outcome: -outcome.mean)
    satisfying = tuple(outcome for outcome in ranked if _misses(outcome, wanted) == 0)
    near = () if satisfying else tuple(sorted(ranked, key=lambda outcome: _misses(outcome, wanted))[:_NEAREST])
    return Answer(
        wanted=wanted,
        stored=len(ranked),
        satisfying=satisfying,
        front=tuple(pareto_front(satisfying)),
        nearest=near,
        notes=tuple(_notes(ranked, wanted)),
    )


def pareto_front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Settings that no other of the same study and kind of privacy beats in every respect.

    Epsilons of other units or deltas, and figures of other data, say nothing about one another.
    """
    return [one for one in outcomes if not any(_beats(other, one) for other in outcomes)]


def costs(outcome: Outcome) -> dict[str, float]:
    """What a setting cost: people, rounds, and epsilon, which is without end where no noise was added."""
    return {
        "users": outcome.amount("population"),
        "rounds": outcome.amount("rounds"),
        "epsilon": math.inf if outcome.epsilon is None else outcome.epsilon,
    }


def _misses(outcome: Outcome, wanted: Wanted) -> float:
    return wanted.misses(costs(outcome) | {"delta": outcome.delta or 0.0}, mean=outcome.mean)


def _beats(one: Outcome, other: Outcome) -> bool:
    if _kind(one) != _kind(other):
        return False
    mine, theirs = ((*costs(each).values(), -each.mean) for each in (one, other))
    pairs = list(zip(mine, theirs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _kind(outcome: Outcome) -> tuple[object, ...]:
    return (outcome.study, outcome.part, outcome.unit, outcome.delta, outcome.guarantee)


def _notes(outcomes: Sequence[Outcome], wanted: Wanted) -> list[str]:
    """What the stored runs do not reach, and what their figures are."""
    notes = []
    texts = {"users": count_text, "rounds": count_text, "epsilon": epsilon_text}
    for name, limit in wanted.limits():
        run = [costs(outcome).get(name, math.inf) for outcome in outcomes]
        run = [cost for cost in run if math.isfinite(cost)]
        if limit is None or not run:
            continue
        if limit > max(run):
            notes.append(f"Nothing was run over {texts[name](max(run))} {name}: what more would give is not known.")
        if limit < min(run):
            notes.append(f"Nothing was run under {texts[name](min(run))} {name}.")
    best = max(outcome.mean for outcome in outcomes)
    if wanted.at_least is not None and wanted.at_least > best:
        notes.append(f"No stored setting reaches more than {share(best)}.")
    kinds = sorted({(outcome.unit, delta_text(outcome.delta)) for outcome in outcomes if outcome.private})
    if len(kinds) > 1:
        said = ", ".join(f"{unit} at delta {delta}" for unit, delta in kinds)
        notes.append(f"Epsilons of different units or deltas are not comparable; here are {said}.")
    notes.append(
        "Figures are of the validation item, on the data of the study alone; other people and other catalogues differ."
    )
    return notes
