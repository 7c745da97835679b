"""The first words of a report: which run it is about, and how it stands against the best baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedrec.reporting.figures import METRICS, Interval, count_text, number
from fedrec.reporting.summary import Method, RunSummary, best, methods

HEADLINE_METRIC = "ndcg@10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The run a report is about, its headline figure and its best rival."""

    run: RunSummary
    split: str
    figure: Interval | None
    rival: Method | None
    twin: Interval | None

    @property
    def rival_figure(self) -> Interval | None:
        """The best baseline's headline figure."""
        return self.rival.metrics[HEADLINE_METRIC] if self.rival else None

    @property
    def headline(self) -> str:
        """One sentence: the figure against the best baseline."""
        if self.figure is None:
            return f"“{self.run.name}” ran, and nothing was measured."
        own = f"“{self.run.name}” reaches {METRICS[HEADLINE_METRIC]} {self.figure} on the {self.split} item"
        if self.rival is None or self.rival_figure is None:
            return f"{own}; no baseline was measured beside it."
        place = {1: "ahead of", 0: "level with", -1: "behind"}[self.standing]
        place = f"slightly {place}" if self.standing and self.overlap else place
        return f"{own}, {place} the best baseline, {self.rival.name}, at {self.rival_figure}."

    @property
    def standing(self) -> int:
        """1 ahead, 0 equal to three decimals, -1 behind the best baseline, by value alone."""
        if self.figure is None or self.rival_figure is None:
            return 0
        own, other = round(self.figure.value, 3), round(self.rival_figure.value, 3)
        return (own > other) - (own < other)

    @property
    def certainty(self) -> str:
        """Whether the two intervals settle the comparison; empty without two intervals."""
        if self.overlap is None:
            return ""
        if self.overlap:
            return "The two intervals overlap: on this evidence they may be equally good."
        return "The two intervals do not overlap."

    @property
    def overlap(self) -> bool | None:
        """Whether the two intervals overlap; None without two intervals."""
        own, other = self.figure, self.rival_figure
        if own is None or other is None or not (own.resampled and other.resampled):
            return None
        return own.low <= other.high and other.low <= own.high


def give_verdict(runs: Sequence[RunSummary]) -> Verdict:
    """Pick the run a report is about and hold it against the baselines.

    A noised run comes before a plain one, then the better NDCG@10 on validation; the figures are
    those of the test item where it was scored. The non-private twin is a ceiling, not a rival.
    """
    noised = [run for run in runs if run.privacy.noised]
    chosen = best(method for method in methods(noised or runs, split="validation") if method.run)
    run = (chosen and chosen.run) or (noised or list(runs))[0]
    split = "test" if run.metric(HEADLINE_METRIC, split="test") else "validation"
    measured = methods([run], split=split)
    twin = next((method.metrics.get(HEADLINE_METRIC) for method in measured if method.is_reference), None)
    return Verdict(
        run=run,
        split=split,
        figure=run.metric(HEADLINE_METRIC, split=split),
        rival=best(method for method in measured if method.run is None and not method.is_reference),
        twin=twin,
    )


def what_was_done(run: RunSummary) -> str:
    """One sentence on the run's size; what is unknown is left out."""
    size = [
        f"{count_text(run.amount(key))} {words}"
        for key, words in (("clients", "clients"), ("users", "people"), ("items", "items"))
        if run.amount(key) is not None
    ]
    rounds, shared = run.amount("rounds"), run.amount("shared_parameters")
    words = "Federated training" + (f" of {count_text(shared)} shared parameters" if shared is not None else "")
    words += f" in {count_text(rounds)} rounds" if rounds is not None else ""
    return words + (f", with {_listed(size)}." if size else ".") + _scored(run)


def _scored(run: RunSummary) -> str:
    """On how many people the figures are, where the run tells."""
    people = number((run.result.get("people_scored") or {}).get("validation"))
    return "" if people is None else f" Its figures are of {count_text(people)} people."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
