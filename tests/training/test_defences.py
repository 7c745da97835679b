"""What a hostile client can do to a round of a real RoundServer, in each mode."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.privacy.ledger import Ledger, read_events
from fedrec.training.aggregation import ServerState
from fedrec.training.client import Reply
from fedrec.training.run_folder import RunFolder
from fedrec.training.server_round import RoundServer
from tests.small_worlds import a_plan
from tests.training.central_worlds import PLAN, SIZE, Crowd, a_recipe, run

LOCAL = a_plan()
CLIENTS = 6
HONEST = np.random.default_rng(4).normal(size=(CLIENTS, SIZE)).astype(np.float32)
# Whatever fits into float32, subnormal numbers, infinities and NaN included.
ANYTHING = st.lists(st.floats(width=32), min_size=SIZE, max_size=SIZE)


class Mixed(Crowd):
    """Honest clients with vectors of their own; client 0 replies as it likes."""

    def __init__(self, *replies: Reply, clients: int = CLIENTS) -> None:
        super().__init__(clients, reply_of=lambda client, _: HONEST[client % CLIENTS])
        self.replies = replies

    def collect(self, instruction, cohort, *, timeout):
        for reply in super().collect(instruction, cohort, timeout=timeout):
            yield from self.replies if reply.client == 0 else [reply]


def says(numbers, **changes):
    """A reply of client 0."""
    return Reply(**({"client": 0, "update": np.array(numbers, dtype=np.float32), "attempts": 1} | changes))


def a_round(engine, plan, **federation):
    """What one round with seeded noise gives."""
    recipe = a_recipe(plan, noise="seeded", cohort=CLIENTS, **federation)
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch) / "run", "", resume=False)
        with Ledger(folder.ledger) as ledger:
            server = RoundServer(folder=folder, engine=engine, recipe=recipe, ledger=ledger)
            return server.round(ServerState.start(np.zeros(SIZE, np.float32)), None)


@pytest.fixture(scope="module")
def without():
    """The round in which client 0 says nothing."""
    return a_round(Mixed(), PLAN)


@given(ANYTHING)
@settings(max_examples=40, deadline=None)
def test_in_central_mode_no_reply_moves_a_round_further_than_the_clip_norm_over_the_cohort(without, numbers):
    moved = a_round(Mixed(says(numbers)), PLAN).mean - without.mean
    assert np.linalg.norm(moved) <= PLAN.clip_norm / CLIENTS * (1 + 1e-9)


@given(st.lists(st.builds(says, ANYTHING, attempts=st.integers(-5, 2**63)), max_size=5))
@settings(max_examples=15, deadline=None)
def test_nor_do_many_replies_of_one_client(without, replies):
    moved = a_round(Mixed(*replies), PLAN).mean - without.mean
    assert np.linalg.norm(moved) <= PLAN.clip_norm / CLIENTS * (1 + 1e-9)


@given(st.lists(st.floats(width=32), min_size=SIZE + 4, max_size=SIZE + 4))
@settings(max_examples=15, deadline=None)
def test_released_metrics_are_bounded_apart_from_the_update(numbers):
    plan = replace(PLAN, metrics_noise=4.0)
    honest = np.zeros(SIZE + 4, np.float32)
    quiet, hostile = (
        a_round(Crowd(CLIENTS, reply_of=lambda client, _, r=reply: r if client == 0 else honest), plan)
        for reply in (honest, np.array(numbers, dtype=np.float32))
    )
    assert np.linalg.norm(hostile.mean - quiet.mean) <= PLAN.clip_norm / CLIENTS * (1 + 1e-9)


@pytest.mark.parametrize("plan", [None, LOCAL], ids=["none", "local"])
def test_an_update_over_the_norm_bound_is_not_counted_and_said_to_be(plan):
    bound = float(np.linalg.norm(HONEST, axis=1).max()) * 1.01
    found = a_round(Mixed(says([bound] * SIZE)), plan, norm_bound=bound)
    assert found.failures == {"over_norm": 1}
    assert found.mean == pytest.approx(HONEST[1:].astype(np.float64).sum(axis=0) / CLIENTS)


@given(ANYTHING, st.sampled_from([None, LOCAL]))
@settings(max_examples=40, deadline=None)
def test_with_a_norm_bound_no_reply_moves_a_round_further_than_the_bound_over_the_cohort(numbers, plan):
    quiet, hostile = (a_round(Mixed(*replies), plan, norm_bound=5.0) for replies in ([], [says(numbers)]))
    assert np.linalg.norm(hostile.mean - quiet.mean) <= 5.0 / CLIENTS * (1 + 1e-9)


def test_a_client_over_the_norm_bound_is_charged_as_its_noise_was_drawn(tmp_path):
    engine = Mixed(says([1e9] * SIZE))
    _, folder = run(tmp_path, engine, a_recipe(LOCAL, cohort=CLIENTS, norm_bound=100.0))
    (event,) = read_events(folder.ledger)
    assert event["participants"] == list(range(CLIENTS))
    assert "0" not in event["replies"]


def robust_round(*replies, clients=15, plan=None):
    """A round of 15 that withstands two hostile clients."""
    recipe = {"aggregation": "median_of_means", "hostile_clients": 2}
    engine = Mixed(*replies, clients=clients)
    with tempfile.TemporaryDirectory() as scratch:
        state, folder = run(Path(scratch), engine, a_recipe(plan, cohort=15, **recipe))
        return state.adapter, folder.rounds()[0], read_events(folder.ledger)


@pytest.mark.parametrize("plan", [None, LOCAL], ids=["none", "local"])
@pytest.mark.parametrize("size", [1e3, 1e12, 3e38])
def test_one_client_does_not_move_a_median_of_means_out_of_the_honest_range(plan, size):
    moved, record, _ = robust_round(says([size] * SIZE), plan=plan)
    assert (np.abs(moved) <= np.abs(HONEST).max()).all()
    assert record["failures"] == {}


def test_a_median_of_means_is_the_same_however_huge_the_lie_is():
    found = [robust_round(says([size] * SIZE))[0] for size in (1e6, 1e30)]
    assert found[0] == pytest.approx(found[1])


def test_a_median_of_means_with_a_group_that_is_silent_releases_nothing_and_is_charged():
    adapter, record, events = robust_round(clients=4, plan=LOCAL)
    assert not adapter.any()
    assert record["failures"] == {"timeout": 1, "empty_group": 2}
    assert events[0]["released"] == "nothing: too few replies in round 1"


def test_many_replies_of_one_client_are_one_update_and_a_count():
    replies = [says([1.0] * SIZE) for _ in range(1000)]
    found = a_round(Mixed(*replies), None)
    assert found.replies == CLIENTS
    assert found.failures == {"duplicate": 999}
    assert found.mean == pytest.approx((HONEST[1:].astype(np.float64).sum(axis=0) + 1) / CLIENTS)
