import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Scenario, TrainingConfig
from fedrec.errors import ConfigError
from fedrec.privacy.spends import GaussianSpend, spend_of
from fedrec.privacy_config import PrivacyConfig
from fedrec.secagg.planned import plan_of
from tests.small_worlds import a_plan


def test_no_privacy_has_no_plan():
    assert plan_of(Scenario(name="open")) is None


def test_the_plan_is_what_the_scenario_asks_for():
    privacy = PrivacyConfig(
        mode="local",
        unit="SEGMENT",
        clip_norm=0.3,
        noise_multiplier=2.5,
        sampling_rate=0.25,
        expected_batch=7,
        participations=3,
        delta=1e-7,
        segment_days=14,
    )
    plan = plan_of(Scenario(name="closed", privacy=privacy, training=TrainingConfig(steps=9)))
    assert plan.participation == GaussianSpend(noise_multiplier=2.5, sampling_rate=0.25, steps=9)
    assert plan.noise_std == pytest.approx(0.75)
    assert (plan.limits.cap, plan.delta, plan.local.segment_days, plan.local.expected_batch) == (3, 1e-7, 14, 7)


def test_a_plan_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_plan().noise_multiplier = 0.1


@given(noise=st.floats(1e-3, 1e3), rate=st.floats(1e-6, 1), steps=st.integers(1, 10**6))
def test_a_spend_survives_the_ledger(noise, rate, steps):
    spend = GaussianSpend(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    assert GaussianSpend.from_event(json.loads(json.dumps(spend.as_event()))) == spend


def test_a_mechanism_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="`skellam` event"):
        spend_of({"mechanism": "skellam"})


def test_the_unit_and_the_sampling_are_said_in_words():
    assert "all that one person did" in a_plan(unit="USER").unit_text()
    assert "UTC interval of 14 days" in a_plan(unit="SEGMENT", segment_days=14).unit_text()
    text = a_plan(sampling_rate=0.25, steps=6).sampling_text()
    assert "rate 0.25" in text
    assert "6 steps" in text
    assert "no amplification by the server's draw" in text
