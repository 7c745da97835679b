"""A study from its file to its table: every run once, gone on with after a stop."""

import fcntl
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrec.data.dataset import Dataset
from fedrec.data.synthetic import write_world
from fedrec.errors import RefusedError
from fedrec.files import write_atomically
from fedrec.studies.processes import finish_all
from fedrec.studies.proposing import settings_of
from fedrec.studies.study import Settings, Study, World
from fedrec.studies.trial import Part, Trial, trial_of

Watch = Callable[[str, int, int], None]


@dataclass
class StudyFolder:
    """A study under way: its runs lie in `path`/runs, what optuna asked for in asked-*.json."""

    path: Path
    study: Study
    watch: Watch = lambda *_: None
    ended: int = field(default=0, init=False)

    def run(self) -> list[Trial]:
        """All runs of the study, ended.

        Raises RefusedError where not one of a search on proxy data succeeded, or another process runs the study.
        """
        with _alone(self.path):
            return self._run()

    def _run(self) -> list[Trial]:
        optuna = self.study.config.how == "optuna"
        searched = self._by_optuna() if optuna else self._finish(settings_of(self.study), "search")
        if not self.study.proxy:
            return searched
        chosen = choice(self.study, searched)
        if chosen is None:
            raise RefusedError(f"No setting succeeded on the proxy data. Why is in {self.path / 'runs'}/*.failed.")
        return searched + self._finish([chosen], "chosen")

    def _by_optuna(self) -> list[Trial]:
        """Batch by batch; what was asked is written down first, so that a stopped study asks no further."""
        ask_optuna = _asking()
        file = self.path / f"asked-{_name_of(self.study)}.json"
        batches: list[list[Settings]] = json.loads(file.read_text()) if file.exists() else []
        trials: list[Trial] = []
        tried: list[tuple[Settings, float | None]] = []
        place = 0
        while len(tried) < self.study.config.trials:
            if place == len(batches):
                count = min(self.study.config.processes, self.study.config.trials - len(tried))
                batches.append(ask_optuna(self.study, tried, count=count))
                write_atomically(file, json.dumps(batches, indent=1).encode())
            found = self._finish(batches[place], "search")
            values = objectives(self.study, found)
            seeds = len(self.study.config.seeds)
            tried += [(trial.settings, values.get(trial.setting)) for trial in found[::seeds]]
            trials += found
            place += 1
        return trials

    def _finish(self, settings: Sequence[Settings], part: Part) -> list[Trial]:
        """Runs of these settings with every seed, ended; finished ones are not run again."""
        trials = self.trials(settings, part)
        # Two drawn settings may be the same run.
        open_ = {trial.out: trial for trial in trials if trial.result is None and not trial.fault}
        total = self._total(len(trials))
        self.ended += len(trials) - len(open_)
        self.watch("runs", self.ended, total)

        def done(_: Trial) -> None:
            self.ended += 1
            self.watch("runs", self.ended, total)

        config = self.study.config
        finish_all(list(open_.values()), processes=config.processes, devices=config.devices, done=done)
        return trials

    def trials(self, settings: Sequence[Settings], part: Part) -> list[Trial]:
        """Runs of these settings with every seed, setting by setting, wherever they stand."""
        config = self.study.config
        return [
            trial_of(self.study, self.path, each, seed=seed, part=part, data=self._data(each, part))
            for each in settings
            for seed in config.seeds
        ]

    def _total(self, now: int) -> int:
        """How many runs the whole study has."""
        config = self.study.config
        settings = config.trials if config.how == "optuna" else 0
        searched = settings * len(config.seeds) or max(now, self.ended)
        return searched + (len(config.seeds) if self.study.proxy else 0)

    def _data(self, settings: Settings, part: Part) -> Path:
        """The data of a run: the proxy's for the search, where there is one."""
        proxy = self.study.proxy
        if proxy and part == "search":
            return self._made(proxy.world) if proxy.world else Path(proxy.path)
        world = self.study.world_of(settings)
        return self._made(world) if world else Path(settings.get("data.path", self.study.data))

    def _made(self, world: World) -> Path:
        """A world in the study's folder, made on first use."""
        path = self.path / "worlds" / f"{world.users}x{world.items}-s{world.seed}"
        if not (path / "dataset.json").exists():
            self.watch("make people", 0, world.users)
            write_world(
                path,
                users=world.users,
                items=world.items,
                seed=world.seed,
                progress=lambda done, total: self.watch("make people", done, total),
            )
        return path


def objectives(study: Study, trials: Sequence[Trial]) -> dict[str, float]:
    """By setting the objective's mean over seeds, of settings that succeeded with every seed."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        result: dict[str, Any] | None = trial.result
        if result is not None:
            found.setdefault(trial.setting, []).append(result["validation"][study.config.objective]["value"])
    seeds = len(study.config.seeds)
    return {name: statistics.fmean(values) for name, values in found.items() if len(values) >= seeds}


def choice(study: Study, trials: Sequence[Trial]) -> Settings | None:
    """The settings of the best mean objective; None where none succeeded with every seed."""
    found = objectives(study, trials)
    by_setting = {trial.setting: trial.settings for trial in trials}
    return by_setting[max(found, key=lambda name: found[name])] if found else None


def _asking() -> Callable[..., list[Settings]]:
    # Lazily: grids need no optuna.
    try:
        from fedrec.studies.asking import ask_optuna
    except ModuleNotFoundError:
        raise RefusedError('optuna is not installed. Run `pip install "fedrec[study]"`, or draw at random.') from None
    return ask_optuna


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else runs the study in this folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(
                f"Another process runs the study in {folder}. Wait for it, or use another --out."
            ) from None
        yield


def _name_of(study: Study) -> str:
    """Tells one search from another: what was asked in one says nothing of another."""
    words = repr((study.scenario, study.choices, study.config.seeds, study.config.seed, study.config.objective))
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def require_data(study: Study) -> None:
    """Raise DataError before the first run where a dataset folder of the study cannot be opened."""
    paths = [study.data, study.proxy.path if study.proxy else ""]
    varied = study.choices.get("data.path", ())
    for path in [*paths, *(varied if isinstance(varied, tuple) else ())]:
        if path:
            Dataset.open(Path(path))
