"""Which settings optuna would try next, by what was found so far."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from fedrec.studies.study import Range, Settings, Study


def ask_optuna(study: Study, tried: Sequence[tuple[Settings, float | None]], *, count: int) -> list[Settings]:
    """The next settings, by what was found so far; the same again where the same was found.

    tried: settings with their objective, None where a run failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=study.config.seed + len(tried))
    search = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: _distribution(each) for name, each in study.choices.items()}
    for settings, value in tried:
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        params = dict(_as_params(study, settings))
        search.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=value, state=state)
        )
    asked = (search.ask(distributions).params for _ in range(count))
    return [{name: _value(study.choices[name], found) for name, found in params.items()} for params in asked]


def _distribution(choice: tuple[Any, ...] | Range) -> BaseDistribution:
    if isinstance(choice, tuple):
        return CategoricalDistribution([json.dumps(each) for each in choice])
    if choice.whole:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log)
    return FloatDistribution(choice.low, choice.high, log=choice.log)


def _as_params(study: Study, settings: Settings) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        yield name, json.dumps(value) if isinstance(study.choices[name], tuple) else value


def _value(choice: tuple[Any, ...] | Range, found: Any) -> Any:
    return json.loads(found) if isinstance(choice, tuple) else found
