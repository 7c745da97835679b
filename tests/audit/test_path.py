"""Canaries on the real path: does the reader see exactly what the deployed code released?"""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit import broken
from fedrec.audit.bench import NOISE, RELEASES, audited_plan
from fedrec.audit.canaries import SIZE, canary_model, draw_canaries, training_canaries, vector_example
from fedrec.audit.neighbours import QuietSource
from fedrec.audit.path import observe
from fedrec.audit.replacing import replaced
from fedrec.config import TrainingConfig
from fedrec.model import heads
from fedrec.privacy import randomness
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.spends import GaussianSpend
from fedrec.secagg.skellam import Skellam
from fedrec.training import local, payment
from fedrec.training.learner import LocalTask
from fedrec.training.local import local_update


@pytest.fixture(scope="module")
def canaries():
    return draw_canaries(3, count=16)


def seen(mode, canaries):
    with replaced(randomness, "system_source", QuietSource), replaced(Skellam, "sample", broken.no_shares):
        return observe(mode, canaries, seed=1)


def test_directions_have_length_one_and_coins_are_mixed():
    drawn = draw_canaries(0, count=400)
    assert np.linalg.norm(drawn.directions, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert 140 < drawn.included.sum() < 260
    gram = drawn.directions[:50] @ drawn.directions[:50].T
    assert np.abs(gram - np.eye(50)).max() < 0.06


def test_the_seed_decides_canaries_and_coins():
    one, same, other = draw_canaries(5, count=20), draw_canaries(5, count=20), draw_canaries(6, count=20)
    assert np.array_equal(one.directions, same.directions)
    assert np.array_equal(one.included, same.included)
    assert not np.array_equal(one.directions, other.directions)


def test_every_kind_of_canary_is_there():
    groups = draw_canaries(0, count=80).groups
    assert {name: int(chosen.sum()) for name, chosen in groups.items()} == {
        "all": 80,
        "at the clip norm": 40,
        "far over the clip norm": 20,
        "many examples": 20,
    }


def test_what_a_canary_trains_is_its_own_vector():
    model = canary_model()
    vector = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    for start in (np.zeros(SIZE, np.float32), vector / 3):
        with training_canaries():
            task = LocalTask(adapter=start, negatives_seed=0)
            update = local_update(model, [vector_example(vector)], task, TrainingConfig())
        assert update == pytest.approx(vector, rel=1e-5, abs=1e-5)


def test_training_is_as_before_when_the_canaries_are_gone():
    with pytest.raises(ZeroDivisionError), training_canaries():
        raise ZeroDivisionError
    assert local.example_losses is heads.example_losses


@pytest.mark.parametrize("mode", ["central", "distributed", "local"])
def test_a_release_is_the_sum_of_its_canaries_at_the_clip_norm(mode, canaries):
    whole, empty = seen(mode, canaries), seen(mode, canaries.with_only())
    # Of each update that is rounded to the grid, by a step at most.
    tolerance = len(canaries) / 2**15 if mode == "distributed" else 1e-4
    assert set(whole.release_of.tolist()) == set(range(RELEASES))
    for release in range(RELEASES):
        there = canaries.included & (whole.release_of == release)
        # Those far over the clip norm count no more than the others.
        expected = canaries.directions[there].sum(0)
        assert whole.releases[release] - empty.releases[release] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("mode", ["central", "distributed", "local"])
def test_what_is_reported_is_read_from_the_ledger_of_the_audited_rounds(mode, canaries):
    spending = observe(mode, canaries, seed=1).spending
    assert spending == ((audited_plan(mode, clients=len(canaries)).participation, 1),)
    # Skellam noise is told by RDP, which is looser.
    accuracy = 0.5 if mode == "distributed" else 1e-3
    one_release = ((GaussianSpend(noise_multiplier=NOISE), 1),)
    assert epsilon_of(spending, delta=1e-6) == pytest.approx(epsilon_of(one_release, delta=1e-6), abs=accuracy)


def test_a_participation_that_was_not_charged_lowers_what_is_reported(canaries):
    def forgetful(collected, *rest):
        return pay_for(replace(collected, spent=collected.spent[1:]), *rest)

    pay_for = payment._owing
    with replaced(payment, "_owing", forgetful):
        assert observe("central", canaries, seed=1).spending == ()


def test_noise_differs_from_one_audit_to_the_next(canaries):
    one, other = (observe("central", canaries.with_only(), seed=1).releases for _ in range(2))
    assert one.std() == pytest.approx(NOISE, rel=0.05)
    assert not (one == other).any()


def test_honest_replies_of_central_mode_measure_the_clip_norm_at_most(canaries):
    assert seen("central", canaries).longest_reply == pytest.approx(1.0, abs=1e-6)
