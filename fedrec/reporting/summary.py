"""A finished run as reports read it: the object that `simulate --json` prints and its rounds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from fedrec.errors import DataError
from fedrec.reporting.figures import METRICS, Interval, number
from fedrec.reporting.privacy import words

BASELINES: Mapping[str, str] = {
    "popularity": "Popularity",
    "item_knn": "ItemKNN",
    "ease": "EASE",
    "sasrec": "SASRec",
    "zero_shot_text": "Zero-shot text",
    "zero_shot_popularity": "Zero-shot + popularity",
    "non_private_twin": "Non-private twin",
}
TWIN = "non_private_twin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The (epsilon, delta) of a run and what it rests on."""

    epsilon: float | None
    epsilon_replace_one: float | None
    delta: float | None
    accountant: str
    sampling: str
    amplified: str
    participations: float | None
    budget: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The mechanism's settings, where a run tells them."""

    clip_norm: float | None
    noise_multiplier: float | None
    participation_cap: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """How a run was protected; `guarantee` is true only where the run says so."""

    mode: str
    unit: str
    unit_text: str
    adjacency: str
    guarantee: bool
    spend: Spend
    noise: Noise
    covers: tuple[str, ...]
    does_not_cover: tuple[str, ...]

    @property
    def noised(self) -> bool:
        """Whether any noise was added."""
        return self.mode != "none"

    @property
    def warning(self) -> words.Notice | None:
        """What has to stand in large letters beside this run."""
        return words.warning(self.mode, guarantee=self.guarantee)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run: what was measured, what it spent, how its rounds went.

    result: the object that `simulate --json` prints, untouched.
    rounds: the lines of `rounds.jsonl`, in order of round.
    metrics: split ("validation", "test") -> metric -> value with interval.
    baselines: name -> split -> metric -> value with interval.
    """

    name: str
    result: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]
    privacy: Privacy
    metrics: Mapping[str, Mapping[str, Interval]]
    baselines: Mapping[str, Mapping[str, Mapping[str, Interval]]] = field(default_factory=dict)

    @classmethod
    def build(cls, result: Mapping[str, Any], rounds: Iterable[Mapping[str, Any]] = ()) -> "RunSummary":
        """Read the object and the lines; absent optional keys stay absent.

        Raises DataError without a known `privacy.mode`: a report must not guess whether a run is private.
        """
        name = str(result.get("name") or PurePath(str(result.get("run") or "run")).name)
        return cls(
            name=name,
            result=result,
            rounds=tuple(sorted(rounds, key=lambda line: int(line["round"]))),
            privacy=_privacy(name, result.get("privacy")),
            metrics=_splits(result),
            baselines={key: _splits(entry) for key, entry in (result.get("baselines") or {}).items()},
        )

    def metric(self, metric: str, *, split: str = "validation") -> Interval | None:
        """One of the run's own figures, or None."""
        return self.metrics.get(split, {}).get(metric)

    def text(self, key: str) -> str:
        """An optional word of the result, empty when absent."""
        value = self.result.get(key)
        return "" if value is None else str(value)

    def amount(self, key: str) -> float | None:
        """An optional number of the result."""
        return number(self.result.get(key))

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(round, NDCG@10 on validation) of each round that was evaluated."""
        scored = (
            (line["round"], Interval.parse((line.get("validation") or {}).get("ndcg@10"))) for line in self.rounds
        )
        return tuple((round_, interval.value) for round_, interval in scored if interval)

    @property
    def spending(self) -> tuple[tuple[int, float], ...]:
        """(round, epsilon spent so far) of each round that was charged."""
        spent = ((line["round"], number(line.get("epsilon"))) for line in self.rounds)
        return tuple((round_, epsilon) for round_, epsilon in spent if epsilon is not None)

    @property
    def failures(self) -> dict[str, int]:
        """Failure code -> replies lost to it, over all rounds."""
        counts: dict[str, int] = {}
        for line in self.rounds:
            for code, count in (line.get("failures") or {}).items():
                counts[code] = counts.get(code, 0) + int(count)
        return counts


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the comparison: a run (with its privacy) or a baseline (without)."""

    name: str
    metrics: Mapping[str, Interval]
    run: RunSummary | None = None
    baseline: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether it is the non-private twin: a ceiling to compare with, not a baseline to beat."""
        return self.baseline == TWIN


def methods(runs: Sequence[RunSummary], *, split: str) -> list[Method]:
    """The runs, then their baselines, each once; only what was measured on that split.

    A baseline that two runs measured differently (another data set, other positives) is kept
    once per run, with the run's name.
    """
    rows = [Method(run.name, run.metrics[split], run) for run in runs if run.metrics.get(split)]
    keys = list(BASELINES) + sorted({key for run in runs for key in run.baselines} - set(BASELINES))
    for key in keys:
        measured = [(run, run.baselines[key][split]) for run in runs if run.baselines.get(key, {}).get(split)]
        same = all(metrics == measured[0][1] for _, metrics in measured)
        for run, metrics in measured[:1] if same else measured:
            label = BASELINES.get(key, key)
            rows.append(Method(label if same else f"{label} ({run.name})", metrics, baseline=key))
    return rows


def best(candidates: Iterable[Method]) -> Method | None:
    """The method with the highest NDCG@10; None without any."""
    scored = [method for method in candidates if "ndcg@10" in method.metrics]
    return max(scored, key=lambda method: method.metrics["ndcg@10"].value, default=None)


def _splits(entry: Mapping[str, Any]) -> dict[str, dict[str, Interval]]:
    return {split: found for split in ("validation", "test") if (found := _metrics(entry.get(split)))}


def _metrics(split: object) -> dict[str, Interval]:
    if not isinstance(split, Mapping):
        return {}
    return {key: interval for key in METRICS if (interval := Interval.parse(split.get(key)))}


def _privacy(name: str, found: object) -> Privacy:
    if not isinstance(found, Mapping) or found.get("mode") not in words.MODES:
        raise DataError(f"Run `{name}` does not say its privacy.mode. Expected one of {', '.join(words.MODES)}.")
    mode, unit = str(found["mode"]), str(found.get("unit") or "USER")
    return Privacy(
        mode=mode,
        unit=unit,
        unit_text=str(found.get("unit_text") or words.unit_words(unit)) if mode != "none" else "",
        adjacency=str(found.get("adjacency") or ""),
        guarantee=mode != "none" and found.get("guarantee") is True,
        spend=Spend(
            epsilon=number(found.get("epsilon")) if mode != "none" else None,
            epsilon_replace_one=number(found.get("epsilon_replace_one")),
            delta=number(found.get("delta")),
            accountant=str(found.get("accountant") or ""),
            sampling=str(found.get("sampling") or ""),
            amplified=str((found.get("amplified") or {}).get("text") or ""),
            participations=number(found.get("participations")),
            budget=number(found.get("budget")),
        ),
        noise=Noise(
            clip_norm=number(found.get("clip_norm")),
            noise_multiplier=number(found.get("noise_multiplier")),
            participation_cap=number(found.get("participation_cap")),
        ),
        covers=tuple(map(str, found.get("covers") or words.covers(mode, unit))),
        does_not_cover=tuple(map(str, found.get("does_not_cover") or words.does_not_cover(mode, unit))),
    )
