"""`fedrec privacy plan`: what a plan would spend, or the noise that a budget asks for, before anything runs."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.cli.privacy_utility import show_utility
from fedrec.errors import ConfigError
from fedrec.privacy.gaussian import best_guess, gdp_mu, zcdp_rho
from fedrec.privacy.planning import Question, Schedule
from fedrec.reporting.figures import delta_text, rounded_down, rounded_up
from fedrec.reporting.privacy.words import epsilon_words
from fedrec.secagg.planning import SecureSchedule, secure_schedule
from fedrec.studies.wanted import Wanted

if TYPE_CHECKING:
    from fedrec.privacy.accounting import Epsilon
    from fedrec.privacy.spends import Spending

_DELTAS = tuple(10.0**-power for power in range(3, 11))
# In a hundred guesses: one decimal more would be needed to tell it from always.
_CERTAIN = 100.0
_MOST_NOISE = 1e8
_LEAST_DELTA = 1e-12


def plan(
    delta: Annotated[
        float | None, typer.Option(help="The delta to plan for, such as 1e-6.", show_default=False)
    ] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Noise over clip norm: ask what it spends.", show_default=False)
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="A budget: ask what noise keeps it.", show_default=False)
    ] = None,
    participations: Annotated[
        int | None, typer.Option(help="Rounds that one client takes part in, known to all.", show_default=False)
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(help="poisson: secret coins instead of known participation.", show_default=False)
    ] = None,
    sampling_rate: Annotated[
        float | None, typer.Option(help="Of the coins; in local mode, of the client's own.", show_default=False)
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the whole run.", show_default=False)] = None,
    mode: Annotated[str, typer.Option(help="central, distributed or local: where the noise is added.")] = "central",
    local_steps: Annotated[
        int | None, typer.Option(help="Noised steps of one participation, in local mode.", show_default=False)
    ] = None,
    bands: Annotated[int | None, typer.Option(help="Bands of correlated noise.", show_default=False)] = None,
    separation: Annotated[
        int | None, typer.Option(help="Rounds between two of a client's, at least.", show_default=False)
    ] = None,
    cohort: Annotated[
        int | None, typer.Option(help="Clients that add up together, in distributed mode.", show_default=False)
    ] = None,
    drop_out: Annotated[
        float | None, typer.Option(help="Share of a cohort that may go; distributed mode.", show_default=False)
    ] = None,
    corruption: Annotated[
        float | None, typer.Option(help="Share that may collude with the server; distributed mode.", show_default=False)
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Numbers of an update, at most; distributed mode.", show_default=False)
    ] = None,
    utility: Annotated[
        list[Path] | None,
        typer.Option(help="The folder of a stored study: ask what was run instead, by the options below."),
    ] = None,
    users: Annotated[
        int | None, typer.Option(help="People that there are, at most; with --utility.", show_default=False)
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="NDCG@10 on validation that is wanted; with --utility.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Plan a budget: the epsilon of a noise multiplier, or the noise multiplier of an epsilon.

    With --utility: which stored runs of a study keep to --users, --rounds and --epsilon and reach --at-least.
    """
    if utility:
        of_a_plan: dict[str, object] = {
            "mode": None if mode == "central" else mode,
            "noise_multiplier": noise_multiplier,
            "participations": participations,
            "sampling": sampling,
            "sampling_rate": sampling_rate,
            "local_steps": local_steps,
            "bands": bands,
            "separation": separation,
            "cohort": cohort,
            "drop_out": drop_out,
            "corruption": corruption,
            "size": size,
        }
        _refuse(of_a_plan, "is of a plan, and --utility asks for what was run")
        wanted = Wanted(users=users, rounds=rounds, epsilon=epsilon, delta=delta, at_least=at_least)
        show_utility(utility, wanted, as_json=as_json)
        return
    if users is not None or at_least is not None:
        raise ConfigError("--users and --at-least ask what a stored study found. Add --utility FOLDER.")
    if delta is None:
        raise ConfigError("--delta is missing. It is a probability over 0 and under 1; 1e-6 is usual.")
    of_a_cohort = {"cohort": cohort, "drop_out": drop_out, "corruption": corruption, "size": size}
    of_others = {
        "sampling": sampling,
        "sampling_rate": sampling_rate,
        "rounds": rounds,
        "local_steps": local_steps,
        "bands": bands,
        "separation": separation,
    }
    schedule: Schedule | SecureSchedule
    if mode == "distributed":
        _refuse(of_others, "is not of --mode distributed, whose clients take part known times with noise of each round")
        schedule = secure_schedule(
            cohort=cohort, participations=participations, drop_out=drop_out, corruption=corruption, size=size
        )
    else:
        _refuse(of_a_cohort, "is of --mode distributed, where a cohort adds up under masks")
        schedule = Question(
            mode=mode,
            participations=participations,
            sampling=sampling,
            sampling_rate=sampling_rate,
            rounds=rounds,
            local_steps=local_steps,
            bands=bands,
            separation=separation,
        ).schedule()
    _check(noise_multiplier, epsilon, delta)
    noise = _noise_for(schedule, epsilon, delta) if noise_multiplier is None else noise_multiplier
    found = answer(schedule, noise_multiplier=noise, delta=delta)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found, schedule.title(), budget=epsilon)


def answer(schedule: Schedule | SecureSchedule, *, noise_multiplier: float, delta: float) -> dict[str, Any]:
    """The object of `--json`: four decimals, none of them below the true figure."""
    # Lazily: two accounting libraries take seconds, and `--help` should not.
    from fedrec.privacy.accounting import MOST_EPSILON, checked_epsilon, epsilon_curve, epsilon_of

    spending = schedule.spending(noise_multiplier)
    _require_countable(spending)
    if not (about := epsilon_of(spending, delta=delta)) <= MOST_EPSILON:
        raise ConfigError(
            f"This plan would spend an epsilon of about {about:.4g}; over {MOST_EPSILON:g} it protects nobody and "
            "cannot be cross-checked. Raise --noise-multiplier, or take part less often."
        )
    epsilon = checked_epsilon(spending, delta=delta)
    return {
        "epsilon": _four(epsilon.value),
        "delta": delta,
        "noise_multiplier": noise_multiplier,
        "accountant": epsilon.accountant,
        "cross_check": _four(epsilon.cross_check),
        "assumptions": schedule.assumptions(),
        "epsilon_replace_one": _four(epsilon.replace_one),
        "zcdp_rho": _four_or_none(zcdp_rho(spending)),
        "gdp_mu": _four_or_none(gdp_mu(spending)),
        "epsilon_rdp": _four(epsilon.rdp),
        "mode": schedule.mode,
        "participations": schedule.participations,
        "curve": [
            {"delta": at, "epsilon": _four(value)}
            for at, value in epsilon_curve(spending, sorted({*_DELTAS, delta}, reverse=True))
            if math.isfinite(value)
        ],
        **_summed(schedule, epsilon, noise_multiplier),
    }


def _summed(schedule: Schedule | SecureSchedule, epsilon: "Epsilon", noise_multiplier: float) -> dict[str, Any]:
    """What a sum under masks is made of; empty for a schedule without."""
    if not isinstance(schedule, SecureSchedule):
        return {}
    found = schedule.secure_sum(noise_multiplier)
    return {
        "epsilon_published": _four_or_none(epsilon.published if math.isfinite(epsilon.published or 0.0) else None),
        "cohort": found.clients,
        "n_min": found.least_honest,
        "failure": found.failure,
        "total_variation": found.total_variation,
        "grid_steps": found.steps,
        "bits": found.bits,
        "share_variance": found.share_variance(noise_multiplier),
        "size": found.size,
    }


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} {why}. Leave it out.")


def _check(noise_multiplier: float | None, epsilon: float | None, delta: float) -> None:
    if (noise_multiplier is None) == (epsilon is None):
        raise ConfigError("Give either --noise-multiplier Z or --epsilon E: the other one is the answer.")
    if noise_multiplier is not None and not 0 < noise_multiplier <= _MOST_NOISE:
        raise ConfigError(
            f"--noise-multiplier is {noise_multiplier}. It is over 0 and at most {_MOST_NOISE:.0f}; 1 is usual."
        )
    if not 0 < delta < 1:
        raise ConfigError(f"--delta is {delta}. It is a probability over 0 and under 1; 1e-6 is usual.")
    if delta < _LEAST_DELTA:
        raise ConfigError(
            f"--delta is {delta}. Under {_LEAST_DELTA} the accountants' own rounding counts; 1e-6 is usual."
        )


def _noise_for(schedule: Schedule | SecureSchedule, epsilon: float | None, delta: float) -> float:
    """The noise that keeps a budget, and keeps it still when four decimals of it are printed."""
    from fedrec.privacy.accountants import MOST_EPSILON
    from fedrec.privacy.calibration import LEAST_EPSILON, noise_multiplier_for

    budget = math.nan if epsilon is None else epsilon
    if LEAST_EPSILON <= budget <= MOST_EPSILON:
        budget = rounded_down(budget, 4)
    _require_countable(schedule.spending(1.0))
    return noise_multiplier_for(epsilon=budget, delta=delta, spending_of=schedule.spending)


def _require_countable(spending: "Spending") -> None:
    from fedrec.privacy.accountants import MOST_SAMPLED_STEPS, sampled_steps

    if (steps := sampled_steps(spending)) > MOST_SAMPLED_STEPS:
        raise ConfigError(
            f"{steps} sub-sampled steps are more than two accountants can check; the most is {MOST_SAMPLED_STEPS}. "
            "Plan fewer rounds or steps, or known participations."
        )


def _four(value: float) -> float:
    """Four decimals, rounded up, but not for what a float is off by."""
    return rounded_up(round(value, 10), 4)


def _four_or_none(value: float | None) -> float | None:
    return None if value is None else _four(value)


def _show(found: dict[str, Any], title: str, *, budget: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Plan: {title}", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in _rows(found):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for sentence in _sentences(found, budget):
        console.print(sentence, highlight=False)
    console.print("\nThis holds if:")
    for sentence in found["assumptions"]:
        console.print(f"- {sentence}", highlight=False)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    def figure(name: str) -> str:
        none = "none: noise is Skellam" if "n_min" in found else "none: steps are sub-sampled"
        return none if found[name] is None else f"{found[name]:.4f}"

    return [
        ("epsilon", figure("epsilon")),
        ("delta", f"{found['delta']:g}"),
        ("noise multiplier", f"{found['noise_multiplier']:g}"),
        ("epsilon, a unit replaced instead of zeroed out", figure("epsilon_replace_one")),
        *_opinions(found, figure),
        ("zCDP rho", figure("zcdp_rho")),
        ("GDP mu", figure("gdp_mu")),
        *((f"epsilon at delta {delta_text(at['delta'])}", f"{at['epsilon']:.4f}") for at in found["curve"]),
    ]


def _opinions(found: dict[str, Any], figure: Callable[[str], str]) -> list[tuple[str, str]]:
    """Other accountants' figures; of a sum under masks, what it is made of as well."""
    if "n_min" not in found:
        return [
            ("epsilon by PRV, an upper bound", figure("cross_check")),
            ("epsilon by RDP, an upper bound", figure("epsilon_rdp")),
        ]
    finite = found["epsilon_published"] is not None
    return [
        ("epsilon of Gaussian noise of that size, by RDP", figure("cross_check")),
        *([("epsilon by the published bound, at whole orders", figure("epsilon_published"))] * finite),
        ("honest clients in any sum, n_min", f"{found['n_min']} of {found['cohort']}"),
        ("probability of a smaller sum, per participation", f"{found['failure']:.2g}"),
        ("what the sampler is wrong by, per participation", f"{found['total_variation']:.2g}"),
        ("steps of the grid to the clip norm", f"{found['grid_steps']}"),
        ("bits of a word", f"{found['bits']}"),
    ]


def _sentences(found: dict[str, Any], budget: float | None) -> list[str]:
    """The same numbers in plain words."""
    epsilon, delta, noise = found["epsilon"], found["delta"], found["noise_multiplier"]
    least = "" if budget is None else f"The least noise multiplier that keeps epsilon {budget:g} is {noise:g}. "
    right = rounded_up(100 * best_guess(epsilon, delta=delta, mu=found["gdp_mu"]), 1)
    often = "nearly always right" if right >= _CERTAIN else f"right at most {right:.1f} times out of 100"
    return [
        f"{least}Noise of {noise:g} times the clip norm spends epsilon {epsilon:.4f} at delta {delta:g}: "
        f"{epsilon_words(epsilon)}.",
        "Somebody who knows everything else, sees all releases and guesses whether one unit's data were among them "
        f"is {often}; a coin is right 50 times.",
        f"Accountant: {found['accountant']}.",
    ]
