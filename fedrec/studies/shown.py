"""Settings of studies as lines on a terminal of any width."""

from collections.abc import Iterator, Sequence

from fedrec.reporting.figures import bytes_text, count_text, delta_text, epsilon_text
from fedrec.studies.outcome import Outcome


def outcome_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Two lines per setting: what it reached and what it cost, then what it was."""
    for place, outcome in enumerate(outcomes, start=1):
        yield f"{place:3}. {outcome.interval} {cost_words(outcome)}"
        yield f"     {outcome.words or 'the scenario as it is'}"


def cost_words(outcome: Outcome) -> str:
    """What one setting cost, in one line."""
    spent = outcome.tag
    if outcome.private:
        spent = f"at epsilon {epsilon_text(outcome.epsilon)}, delta {delta_text(outcome.delta)} per {outcome.unit}"
        spent += f" ({outcome.tag})" if outcome.tag else ""
    seeds = len(outcome.runs)
    return (
        f"{spent}; {count_text(outcome.amount('population'))} people, {count_text(outcome.amount('rounds'))} rounds, "
        f"{bytes_text(outcome.amount('bytes_per_client_round'))} per client and round, {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}"
    )
