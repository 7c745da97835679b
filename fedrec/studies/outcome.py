"""What a setting came to over its seeds, read from the table of a study."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from fedrec.reporting.figures import ABSENT, Interval, share
from fedrec.studies.study import Settings
from fedrec.studies.trial import Part

# One finished run as a row of the table.
Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The finished runs of one setting, a seed each, at least one.

    epsilon: the largest of its runs; None where any of them added no noise. guarantee: of all of them.
    """

    study: str
    setting: str
    part: Part
    settings: Settings
    runs: tuple[Run, ...]
    metric: str = "ndcg@10"

    @property
    def mean(self) -> float:
        """The metric's mean over seeds."""
        return statistics.fmean(run[self.metric] for run in self.runs)

    @property
    def interval(self) -> Interval:
        """The mean over seeds, between the lowest and the highest end of any seed's 95% interval over people."""
        lows, highs = ([run[f"{self.metric}{end}"] for run in self.runs] for end in ("_low", "_high"))
        return Interval(self.mean, min(lows), max(highs))

    def by_seed(self, seeds: Sequence[int]) -> str:
        """The figure of each of these seeds, a dash where its run failed."""
        found = {run["seed"]: share(run[self.metric]) for run in self.runs}
        return ", ".join(found.get(seed, ABSENT) for seed in seeds)

    @property
    def private(self) -> bool:
        """Whether noise was added in every run."""
        return all(run["mode"] != "none" for run in self.runs)

    @property
    def guarantee(self) -> bool:
        return self.private and all(run["guarantee"] for run in self.runs)

    @property
    def epsilon(self) -> float | None:
        return max(run["epsilon"] for run in self.runs) if self.private else None

    @property
    def delta(self) -> float | None:
        return max(run["delta"] for run in self.runs) if self.private else None

    @property
    def unit(self) -> str:
        """The privacy unit; empty without noise."""
        return str(self.runs[0]["unit"]) if self.private else ""

    @property
    def tag(self) -> str:
        """What has to stand beside it in large letters; empty where its guarantee holds."""
        if not self.private:
            return "NOT PRIVATE"
        return "" if self.guarantee else "NOT A DP GUARANTEE"

    def amount(self, name: str) -> float:
        """The largest over its runs of a column that every run has, such as `population`."""
        return max(float(run[name]) for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """One object with what it was, what it reached and what it cost."""
        interval = self.interval
        return {
            "study": self.study,
            "setting": self.setting,
            "settings": dict(self.settings),
            "part": self.part,
            "seeds": [run["seed"] for run in self.runs],
            self.metric: {"value": interval.value, "low": interval.low, "high": interval.high},
            "by_seed": [run[self.metric] for run in self.runs],
            **{name: getattr(self, name) for name in ("epsilon", "delta", "unit", "guarantee")},
            **{name: int(self.amount(name)) for name in ("population", "rounds", "bytes_per_client_round")},
            "seconds": self.amount("seconds"),
        }

    @property
    def words(self) -> str:
        """Its settings, as a reader would type them."""
        return settings_words(self.settings)


def outcomes_of(table: pl.DataFrame, *, metric: str = "ndcg@10") -> list[Outcome]:
    """The settings of a study with a finished run, best mean first."""
    done = table.filter(pl.col("failure").is_null()).sort("study", "part", "setting", "seed")
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in done.iter_rows(named=True):
        groups.setdefault((run["study"], run["part"], run["setting"]), []).append(run)
    found = [
        Outcome(
            study=study,
            setting=setting,
            part="chosen" if part == "chosen" else "search",
            settings=json.loads(runs[0]["tried"]),
            runs=tuple(runs),
            metric=metric,
        )
        for (study, part, setting), runs in groups.items()
    ]
    return sorted(found, key=lambda outcome: -outcome.mean)


def best_of(outcomes: Sequence[Outcome], *, seeds: int) -> Outcome | None:
    """The best mean among settings that succeeded with every seed; those on the real data come first."""
    whole = [outcome for outcome in outcomes if len(outcome.runs) >= seeds]
    chosen = [outcome for outcome in whole if outcome.part == "chosen"]
    return max(chosen or whole, key=lambda outcome: outcome.mean, default=None)


def settings_words(settings: Settings) -> str:
    """Settings in one line.

    >>> settings_words({"federation.rounds": 8, "adapter.ranks": {"items": 2}})
    'federation.rounds = 8, adapter.ranks = {"items": 2}'
    """
    said = (f"{value:.4g}" if isinstance(value, float) else json.dumps(value) for value in settings.values())
    return ", ".join(f"{name} = {value}" for name, value in zip(settings, said, strict=True))


def short_words(settings: Settings) -> str:
    """The same with the last part of each name, where that tells the settings apart.

    >>> short_words({"federation.rounds": 8, "privacy.noise_multiplier": 2.0})
    'rounds = 8, noise_multiplier = 2'
    """
    short = {name.rpartition(".")[2]: value for name, value in settings.items()}
    return settings_words(short if len(short) == len(settings) else settings)
