"""Each exact check: does it pass what is sound, and fail what it is there for?"""

from dataclasses import dataclass, fields

import numpy as np
import pytest
from flwr.app import ConfigRecord

from fedrec.audit import leaving, updates
from fedrec.audit.checks import Check
from fedrec.audit.noise import distinct_check, noise_checks, shape_check, size_check
from fedrec.audit.replacing import replaced
from fedrec.federation import messages
from fedrec.privacy import correlated_noise, randomness
from fedrec.privacy.spends import GaussianSpend, SkellamSpend
from fedrec.training import aggregation, blocks
from fedrec.training.client import Reply

pytestmark = pytest.mark.slow


def normal(rows=1, size=20_000, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, size))


def test_a_check_passes_between_its_limits_and_fails_for_what_is_no_number():
    one = Check(name="a", what="b", found=1.0, low=1.0, high=1.0)
    assert one.passed
    for found in (0.99, 1.01, float("nan"), float("inf")):
        assert not Check(name="a", what="b", found=found, low=1.0, high=1.0).passed


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (0.5, False), (0.95, False), (1.05, False), (0.0, False)])
def test_noise_of_another_size_is_noticed(factor, passes):
    assert size_check("a", factor * normal().ravel(), of="noise").passed is passes


def test_noise_of_the_right_size_and_another_shape_is_noticed():
    draw = np.random.default_rng(0)
    assert shape_check("a", normal().ravel()).passed
    for other in (draw.uniform(-(3**0.5), 3**0.5, 20_000), draw.laplace(size=20_000) / 2**0.5):
        assert size_check("a", other, of="noise").passed
        assert not shape_check("a", other).passed


def test_noise_that_is_shared_is_noticed():
    rows = normal(rows=4)
    assert distinct_check("a", rows, of="noise").passed
    assert not distinct_check("a", np.stack([rows[0], rows[1], rows[0]]), of="noise").passed
    assert not distinct_check("a", np.stack([rows[0], rows[1] + 0.2 * rows[0]]), of="noise").passed
    assert not distinct_check("a", np.zeros((2, 100)), of="noise").passed


@pytest.mark.parametrize("mode", ["central", "distributed", "local"])
def test_the_noise_that_is_deployed_passes(mode):
    assert [check.name for check in noise_checks(mode, seed=0) if not check.passed] == []


@pytest.mark.parametrize("mode", ["central", "local"])
def test_a_ledger_that_claims_more_noise_than_was_drawn_is_noticed(mode):
    def boastful(self):
        return {**as_event(self), "noise_multiplier": 1.2 * self.noise_multiplier}

    as_event = GaussianSpend.as_event
    with replaced(GaussianSpend, "as_event", boastful):
        assert "noise_size" in [check.name for check in noise_checks(mode, seed=0) if not check.passed]


def test_a_ledger_that_claims_larger_shares_than_were_drawn_is_noticed():
    def boastful(self):
        return {**as_event(self), "variance": 3 * self.variance // 2}

    as_event = SkellamSpend.as_event
    with replaced(SkellamSpend, "as_event", boastful):
        assert "noise_size" in [check.name for check in noise_checks("distributed", seed=0) if not check.passed]


def test_coins_that_are_too_generous_are_noticed():
    def generous(self, size, *, probability):
        return self.uniform(size) < 1.2 * probability

    with replaced(randomness.RandomSource, "coins", generous):
        assert "secret_coins" in [check.name for check in noise_checks("local", seed=0) if not check.passed]


def test_an_encoder_that_shows_more_of_a_round_than_is_charged_is_noticed():
    longer = property(lambda self: np.linspace(1.0, 0.5, self.bands))
    with replaced(correlated_noise.BandedToeplitz, "coefficients", longer):
        assert "encoder_norm" in [check.name for check in noise_checks("central", seed=0) if not check.passed]


def test_a_client_of_central_mode_moves_the_sum_by_the_clip_norm_honest_or_not():
    for movement in (updates.client_movement(0), updates.hostile_movement(0), updates.longest_reply(0)):
        assert movement == pytest.approx(1.0, abs=1e-3)
    assert updates.block_movement() == pytest.approx(1.0, abs=1e-6)


def unclipped(update, *, clip_norm):  # noqa: ARG001
    return np.asarray(update, dtype=np.float64)


def test_a_server_that_trusts_the_client_to_clip_is_noticed():
    with replaced(aggregation, "clip_update", unclipped):
        assert updates.client_movement(0) == pytest.approx(1.0, abs=1e-3)
        assert updates.hostile_movement(0) > 5
        assert updates.block_movement() > 1000


def test_a_release_whose_bound_is_forgotten_is_noticed():
    with replaced(blocks, "UNIT_NORM", None):
        assert updates.block_movement() > 1000


def test_what_leaves_a_device_is_on_the_list():
    assert leaving.unexpected_fields() == []
    assert len(leaving.payload_sizes()) == 1


@pytest.mark.parametrize("key", ["num_examples", "loss"])
def test_one_more_figure_in_the_packed_reply_is_noticed(key):
    pack = messages.pack_reply

    def leaky(reply):
        records = pack(reply)
        records["reply"] = ConfigRecord({**records["reply"], key: 7})
        return records

    with replaced(messages, "pack_reply", leaky):
        assert leaving.unexpected_fields() == [f"reply/{key}"]


def test_one_more_field_of_the_reply_is_noticed():
    @dataclass(frozen=True)
    class Wider(Reply):
        clip_fraction: float = 0.0

    assert len(fields(Wider)) == len(fields(Reply)) + 1
    with replaced(leaving, "Reply", Wider):
        assert leaving.unexpected_fields() == ["clip_fraction"]


def test_replies_of_different_sizes_are_noticed():
    pack = messages._pack
    with replaced(messages, "_pack", lambda vector: pack(vector[vector != 0])):
        assert len(leaving.payload_sizes()) > 1
