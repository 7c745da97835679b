"""Releases without anybody's data: is noise that is missing somewhere noticed?"""

import numpy as np
import pytest
import torch

from fedrec.audit.noise import coordinate_check, noise_checks, sameness_checks
from fedrec.audit.popularity import popularity_checks
from fedrec.audit.replacing import replaced
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training import dp_sgd, server_noise, server_round

pytestmark = pytest.mark.slow

gaussian = RandomSource.gaussian
SPREAD = slice(None, None, 40)


def failed(checks):
    return {check.name for check in checks if not check.passed}


def a_few_without(self, size, *, noise_std):
    noise = gaussian(self, size, noise_std=noise_std)
    noise[SPREAD] = 0
    return noise


def a_few_now_and_then_without(self, size, *, noise_std):
    noise = gaussian(self, size, noise_std=noise_std)
    noise[self.uniform(size) < 0.025] = 0
    return noise


def a_few_with_little(self, size, *, noise_std):
    noise = gaussian(self, size, noise_std=noise_std)
    noise[SPREAD] *= 0.3
    return noise


def a_few_with_a_neighbours(self, size, *, noise_std):
    noise = gaussian(self, size, noise_std=noise_std)
    noise[1::40] = -noise[SPREAD][: len(noise[1::40])]
    return noise


def test_noise_on_every_coordinate_passes():
    rows = np.random.default_rng(0).normal(size=(64, 8192)).astype(np.float32).astype(np.float64)
    assert coordinate_check("a", rows, of="noise").passed
    assert failed(sameness_checks(rows)) == set()


@pytest.mark.parametrize("factor", [0.0, 0.4, 2.0])
def test_one_coordinate_whose_noise_has_another_size_is_noticed(factor):
    rows = np.random.default_rng(0).normal(size=(64, 8192))
    rows[:, 4000] *= factor
    assert not coordinate_check("a", rows, of="noise").passed


@pytest.mark.parametrize("mode", ["central", pytest.param("local", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("broken", "noticed_by"),
    [
        (a_few_without, {"noise_zeros", "noise_everywhere", "noise_repeats"}),
        (a_few_now_and_then_without, {"noise_zeros"}),
        (a_few_with_little, {"noise_everywhere"}),
        (a_few_with_a_neighbours, {"noise_repeats"}),
    ],
)
def test_one_coordinate_in_forty_without_noise_of_its_own_is_noticed(mode, broken, noticed_by):
    with replaced(RandomSource, "gaussian", broken):
        found = failed(noise_checks(mode, seed=0))
    # Two steps of `local` mode seldom leave out the same coordinate by chance.
    if mode == "local" and broken is a_few_now_and_then_without:
        noticed_by = {"noise_shape"}
    assert noticed_by <= found


def test_noise_that_is_left_out_only_where_there_are_data_is_noticed_in_central_mode():
    def bare(self, total, before, *, expected):
        noised = release(self, total, before, expected=expected)
        noised[SPREAD] = np.where(total[SPREAD] == 0, noised[SPREAD], total[SPREAD] / expected)
        return noised

    release = server_noise.ServerNoise.release
    with replaced(server_noise.ServerNoise, "release", bare):
        assert failed(noise_checks("central", seed=0)) >= {"busy_noise_everywhere", "busy_noise_shape"}


@pytest.mark.slow
def test_noise_that_is_left_out_only_where_there_are_data_is_noticed_in_local_mode():
    def bare(self):
        add_noise(self)
        for parameter in self.params:
            parameter.grad[::40] = torch.where(
                parameter.summed_grad == 0, parameter.grad, parameter.summed_grad.view_as(parameter)
            )[::40]

    add_noise = dp_sgd.SourceNoiseOptimizer.add_noise
    with replaced(dp_sgd.SourceNoiseOptimizer, "add_noise", bare):
        assert failed(noise_checks("local", seed=0)) >= {"busy_noise_everywhere", "busy_noise_shape"}


def test_the_noise_on_released_popularity_and_metrics_passes():
    assert failed(popularity_checks()) == set()


@pytest.mark.parametrize(
    ("factor", "noticed_by"), [(0.0, "popularity_cut"), (0.5, "popularity_noise"), (0.9, "popularity_noise")]
)
def test_popularity_with_too_little_noise_is_noticed(factor, noticed_by):
    def less(total, *, noise_std, source):
        return total + factor * source.gaussian(len(total), noise_std=noise_std)

    with replaced(server_round, "noised_sum", less):
        assert noticed_by in failed(popularity_checks())


def test_popularity_without_noise_on_some_items_is_noticed():
    def some(total, *, noise_std, source):
        noise = source.gaussian(len(total), noise_std=noise_std)
        noise[SPREAD] = 0
        return total + noise

    with replaced(server_round, "noised_sum", some):
        assert "popularity_items" in failed(popularity_checks())


def test_popularity_whose_entry_claims_more_noise_is_noticed():
    def boastful(self, spend, *, kind, clip_norm=None):
        entry = event(self, spend, kind=kind, clip_norm=clip_norm)
        return {**entry, "noise_multiplier": entry["noise_multiplier"] * (1.2 if kind == "popularity" else 1.0)}

    event = PrivacyPlan.event
    with replaced(PrivacyPlan, "event", boastful):
        assert "popularity_noise" in failed(popularity_checks())


def test_metrics_without_noise_are_noticed():
    with replaced(server_noise, "noised_sum", lambda total, **_: total):
        assert "metrics_released" in failed(popularity_checks())
        assert {"metrics_noise_size", "metrics_everywhere"} <= failed(noise_checks("central", seed=0))
