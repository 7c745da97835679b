from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import UnsafeUpdateError
from fedrec.federation_config import FederationConfig
from fedrec.training.aggregation import ServerState, UpdateSum
from fedrec.training.blocks import blocks_of
from tests.small_worlds import a_central_plan

SIZE = 7


def vector(seed, scale=1.0):
    return (np.random.default_rng(seed).normal(size=SIZE) * scale).astype(np.float32)


def config(optimizer, rate=0.01):
    return FederationConfig(server_optimizer=optimizer, server_rate=rate)


def test_the_mean_is_over_the_expected_cohort_whoever_replied():
    total = UpdateSum(SIZE)
    for seed in range(3):
        total.add(vector(seed))
    assert total.count == 3
    assert total.mean(expected=5) == pytest.approx(sum(vector(seed).astype(float) for seed in range(3)) / 5)


def test_no_reply_is_a_mean_of_zeros():
    assert not UpdateSum(SIZE).mean(expected=10).any()


@given(st.permutations(range(8)))
@settings(max_examples=30)
def test_every_update_has_the_same_weight_in_any_order(order):
    total = UpdateSum(SIZE)
    for seed in order:
        total.add(vector(seed, scale=10.0**seed))
    expected = np.sum([vector(seed, scale=10.0**seed).astype(float) for seed in range(8)], axis=0)
    assert total.mean(expected=1) == pytest.approx(expected, rel=1e-12)


def test_a_sum_is_to_the_bit_that_of_float64_numbers_in_order():
    total, plain = UpdateSum(SIZE), np.zeros(SIZE)
    for seed in range(50):
        total.add(vector(seed, scale=10.0 ** (seed % 9)))
        plain = plain + vector(seed, scale=10.0 ** (seed % 9)).astype(np.float64)
    assert total.value.tobytes() == plain.tobytes()


def test_a_bounded_sum_is_that_of_clipped_updates_to_twelve_digits():
    blocks = blocks_of(replace(a_central_plan(clip_norm=0.5), metrics_noise=4.0), "update", size=SIZE - 4)
    total, plain = UpdateSum(SIZE - 4, blocks=blocks), np.zeros(SIZE)
    for seed in range(50):
        update = vector(seed, scale=10.0 ** (seed % 5 - 3))
        total.add(update)
        for bound, part in ((0.5, slice(0, SIZE - 4)), (1.0, slice(SIZE - 4, SIZE))):
            exact = update[part].astype(np.longdouble)
            plain[part] += (exact * min(1, bound / np.sqrt((exact**2).sum()))).astype(np.float64)
    assert total.value == pytest.approx(plain, rel=1e-12, abs=1e-12)


def test_an_update_is_left_as_it_was():
    update = vector(1, scale=100.0)
    before = update.tobytes()
    UpdateSum(SIZE, blocks=blocks_of(a_central_plan(), "update", size=SIZE)).add(update)
    assert update.tobytes() == before


def test_many_small_updates_are_not_lost_beside_a_large_one():
    total = UpdateSum(1)
    total.add(np.array([1e8], np.float32))
    for _ in range(1000):
        total.add(np.array([1.0], np.float32))
    assert total.mean(expected=1)[0] == 1e8 + 1000


@pytest.mark.parametrize(
    "garbage",
    [
        np.zeros(SIZE + 1, np.float32),
        np.zeros((1, SIZE), np.float32),
        np.float32(0),
        np.zeros(0, np.float32),
        np.zeros(SIZE, np.int64),
        np.zeros(SIZE, bool),
        np.zeros(SIZE, complex),
        np.array(["x"] * SIZE),
        np.full(SIZE, np.nan, np.float32),
        np.r_[np.zeros(SIZE - 1), np.inf],
        np.r_[np.zeros(SIZE - 1), -np.inf].astype(np.float32),
        np.full(SIZE, 1e300),
    ],
)
def test_what_is_no_update_is_refused_and_leaves_the_sum_alone(garbage):
    total = UpdateSum(SIZE)
    total.add(vector(1))
    with pytest.raises(UnsafeUpdateError):
        total.add(garbage)
    assert total.count == 1
    assert np.array_equal(total.mean(expected=1), vector(1))


def test_fedavg_moves_by_the_rate_times_the_mean():
    state = ServerState.start(vector(0)).advance(vector(1).astype(float), config("fedavg", 0.5))
    assert state.adapter == pytest.approx(vector(0) + 0.5 * vector(1), abs=1e-7)
    assert (state.round, state.steps) == (1, 1)


def run_torch(optimizer, start, means):
    """The same steps by torch.optim in float64: its gradient is the mean update turned round."""
    weights = torch.tensor(start.astype(np.float64), requires_grad=True)
    made = optimizer([weights])
    for mean in means:
        weights.grad = -torch.from_numpy(mean)
        made.step()
    return weights.detach().numpy()


OPTIMIZERS = {
    "fedavg": lambda rate: lambda weights: torch.optim.SGD(weights, lr=rate),
    "momentum": lambda rate: lambda weights: torch.optim.SGD(weights, lr=rate, momentum=0.9),
    "adam": lambda rate: lambda weights: torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.99), eps=1e-8),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_server_optimizers_equal_those_of_torch(name):
    means = [vector(seed, scale=0.1).astype(np.float64) for seed in range(12)]
    rate = 2**-6
    moved = np.zeros(SIZE)
    state = ServerState.start(np.zeros(SIZE, np.float32))
    for mean in means:
        # The adapter is rounded to float32 after each step; the step itself is read before that.
        before = state.adapter.astype(np.float64)
        state = state.advance(mean, config(name, rate))
        moved += state.adapter.astype(np.float64) - before
    expected = run_torch(OPTIMIZERS[name](rate), np.zeros(SIZE), means)
    assert moved == pytest.approx(expected, abs=1e-6)


def test_adams_moments_equal_those_of_torch_to_the_last_digits():
    means = [vector(seed).astype(np.float64) for seed in range(12)]
    state = ServerState.start(np.zeros(SIZE, np.float32))
    weights = torch.zeros(SIZE, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=0.01, betas=(0.9, 0.99), eps=1e-8)
    for mean in means:
        state = state.advance(mean, config("adam"))
        weights.grad = -torch.from_numpy(mean)
        adam.step()
    kept = adam.state[weights]
    assert state.first == pytest.approx(-kept["exp_avg"].numpy(), abs=1e-10)
    assert state.second == pytest.approx(kept["exp_avg_sq"].numpy(), abs=1e-10)


def test_a_dropped_round_is_counted_and_moves_nothing():
    state = ServerState.start(vector(0)).advance(vector(1).astype(float), config("adam"))
    skipped = state.skip()
    assert (skipped.round, skipped.steps) == (2, 1)
    assert np.array_equal(skipped.adapter, state.adapter)
    assert np.array_equal(skipped.first, state.first)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clients_receive_float32(name):
    state = ServerState.start(vector(0)).advance(vector(1).astype(float), config(name))
    assert state.adapter.dtype == np.float32
