"""What the canaries show: the largest lower bound over every way of looking at the releases.

A reader may look at a release alone, or subtract another one: that is blind to sound noise,
and removes noise that was drawn twice. Each kind of canary is asked about alone, too, as a
fault may betray only the long ones, or only those with many examples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fedrec.audit.bounds import gaussian_fit_bound, one_run_bound
from fedrec.audit.canaries import Canaries
from fedrec.audit.path import Observed
from fedrec.data.sequences import Bools
from fedrec.privacy.mechanism import Doubles

# The chance that all bounds of a kind hold together. A sound path comes near what the fit
# says it may, so that its alarms must be rare; it stays far under it by the other bound.
ONE_RUN_CONFIDENCE = 0.95
FIT_CONFIDENCE = 0.9999


@dataclass(frozen=True, slots=True)
class Question:
    """One way of looking at one group of canaries. name: in words. statistics, included: (n,)."""

    name: str
    statistics: Doubles
    included: Bools


@dataclass(frozen=True, slots=True)
class CanaryBounds:
    """Lower bounds on epsilon, and the question that gave each."""

    one_run: float
    one_run_from: str
    gaussian_fit: float
    gaussian_fit_from: str

    @property
    def largest(self) -> float:
        """The one that is held against what is reported."""
        return max(self.one_run, self.gaussian_fit)


def canary_bounds(canaries: Canaries, observed: Observed, *, delta: float) -> CanaryBounds:
    """The largest bound of either kind over all questions, which share its chance of error."""
    questions = list(questions_of(canaries, observed))

    def bounds(bound: Callable[..., float], confidence: float) -> list[float]:
        each = 1 - (1 - confidence) / len(questions)
        return [bound(asked.statistics, asked.included, delta=delta, confidence=each) for asked in questions]

    runs, fits = bounds(one_run_bound, ONE_RUN_CONFIDENCE), bounds(gaussian_fit_bound, FIT_CONFIDENCE)
    run, fit = int(np.argmax(runs)), int(np.argmax(fits))
    return CanaryBounds(runs[run], questions[run].name, fits[fit], questions[fit].name)


def questions_of(canaries: Canaries, observed: Observed) -> Iterator[Question]:
    """Every group of canaries under every view."""
    asked = observed.release_of >= 0
    shown: Doubles = (canaries.directions @ observed.releases.T.astype(np.float32)).astype(np.float64)
    own = np.take_along_axis(shown, np.maximum(observed.release_of, 0)[:, None], axis=1)[:, 0]
    views = {"its release": own, "its release less the other one": 2 * own - shown.sum(1)}
    for view, statistics in views.items():
        for group, chosen in canaries.groups.items():
            among = chosen & asked
            yield Question(f"canaries: {group}; in {view}", statistics[among], canaries.included[among])
