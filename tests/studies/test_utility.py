"""What stored studies answer: what was run and satisfies, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.studies.outcome import Outcome
from fedrec.studies.utility import answer, costs, pareto_front
from fedrec.studies.wanted import Wanted
from tests.studies.small_studies import an_outcome

OUTCOMES = st.lists(
    st.builds(
        an_outcome,
        ndcg=st.lists(st.sampled_from([0.05, 0.1, 0.15, 0.2]), min_size=1, max_size=3),
        epsilon=st.sampled_from([None, 1.0, 2.0, 4.0]),
        population=st.sampled_from([100, 1000]),
        rounds=st.sampled_from([2, 4, 8]),
    ),
    min_size=1,
    max_size=12,
)
WANTED = st.builds(
    Wanted,
    users=st.sampled_from([None, 50, 100, 500]),
    rounds=st.sampled_from([None, 2, 5]),
    epsilon=st.sampled_from([None, 1.5, 4.0]),
    at_least=st.sampled_from([None, 0.1, 0.19, 0.3]),
)


@given(OUTCOMES, WANTED)
def test_what_is_shown_was_run_and_keeps_to_what_is_asked(outcomes: list[Outcome], wanted: Wanted) -> None:
    found = answer(outcomes, wanted)
    for outcome in (*found.satisfying, *found.front, *found.nearest):
        assert outcome in outcomes
    for outcome in found.satisfying:
        assert all(costs(outcome)[name] <= limit for name, limit in wanted.limits() if limit and name != "delta")
        assert outcome.mean >= (wanted.at_least or 0)
    assert bool(found.satisfying) != bool(found.nearest)
    assert len(found.satisfying) == sum(_keeps(outcome, wanted) for outcome in outcomes)


def _keeps(outcome: Outcome, wanted: Wanted) -> bool:
    """The same question, asked plainly."""
    epsilon = math.inf if outcome.epsilon is None else outcome.epsilon
    return (
        outcome.amount("population") <= (wanted.users or math.inf)
        and outcome.amount("rounds") <= (wanted.rounds or math.inf)
        and epsilon <= (wanted.epsilon or math.inf)
        and outcome.mean >= (wanted.at_least or 0)
    )


@given(OUTCOMES)
def test_nothing_on_the_front_is_beaten_and_all_else_is(outcomes: list[Outcome]) -> None:
    front = pareto_front(outcomes)
    assert front
    for one in outcomes:
        better = [
            other
            for other in outcomes
            if (other.unit, other.guarantee) == (one.unit, one.guarantee)
            and other.mean >= one.mean
            and all(costs(other)[name] <= cost for name, cost in costs(one).items())
            and (other.mean, *costs(other).values()) != (one.mean, *costs(one).values())
        ]
        assert (one in front) != bool(better)


def test_what_lies_beyond_the_runs_is_said_to_be_unknown() -> None:
    found = answer([an_outcome(population=1000), an_outcome(population=4000)], Wanted(users=9000, at_least=0.5))
    assert not found.satisfying
    assert "Nothing was run over 4,000 users: what more would give is not known." in found.notes
    assert "No stored setting reaches more than .110." in found.notes


def test_an_epsilon_at_a_larger_delta_does_not_keep_to_a_smaller_one() -> None:
    loose, tight = an_outcome(delta=1e-5), an_outcome(delta=1e-7)
    assert answer([loose, tight], Wanted(epsilon=3, delta=1e-6)).satisfying == (tight,)
    assert answer([loose, tight], Wanted()).front == (loose, tight)


def test_the_nearest_come_first() -> None:
    near, far = an_outcome(ndcg=[0.28]), an_outcome(ndcg=[0.1])
    assert answer([far, near], Wanted(at_least=0.3)).nearest == (near, far)


@pytest.mark.parametrize("wanted", [{"users": 0}, {"epsilon": math.inf}, {"at_least": -1.0}, {"rounds": math.nan}])
def test_what_cannot_be_wanted_is_refused(wanted: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be a number over 0"):
        Wanted(**wanted)


def test_without_a_finished_run_there_is_no_answer() -> None:
    with pytest.raises(ConfigError, match="no finished run"):
        answer([], Wanted())
