"""What an audit says of itself: passed, failed, caught, or blind."""

import json
from dataclasses import replace

import pytest

from fedrec.audit.checks import Check
from fedrec.audit.evidence import CanaryBounds
from fedrec.audit.outcome import NO_PROOF, Audit, Control

CAUGHT = Control(detector="canaries", caught=True, found=9.0, what="no noise is added")
SOUND = Check(name="noise_size", what="size", found=1.0, low=0.9, high=1.1)
PASSED = Audit(
    mode="central",
    seed=4,
    canaries=1600,
    reported_epsilon=2.25,
    bounds=CanaryBounds(0.5, "all", 1.4, "all"),
    checks=(SOUND,),
    controls={"noise_off": CAUGHT},
    fault=None,
)
BLIND = {"noise_off": replace(CAUGHT, caught=False)}
LEAKY = CanaryBounds(0.5, "all", 2.3, "all")
UNSOUND = (SOUND, replace(SOUND, found=0.5))


def test_a_sound_path_whose_faults_were_all_caught_passes_and_says_that_it_is_no_proof():
    assert PASSED.passed
    assert PASSED.exit_code == 0
    assert NO_PROOF in PASSED.statement


@pytest.mark.parametrize(
    "changes",
    [{"bounds": LEAKY}, {"bounds": CanaryBounds(2.3, "all", 0.0, "all")}, {"checks": UNSOUND}, {"controls": BLIND}],
)
def test_a_leak_a_failed_check_or_a_missed_fault_fails(changes):
    failed = replace(PASSED, **changes)
    assert not failed.passed
    assert failed.exit_code == 1
    assert failed.statement.startswith("FAILED: ")


def test_a_planted_fault_that_is_noticed_fails_the_path():
    audit = replace(PASSED, fault="noise_off", bounds=LEAKY)
    assert not audit.passed
    assert audit.exit_code == 1
    assert "was noticed: canaries show an epsilon of at least 2.30, and 2.25 is reported" in audit.statement


def test_a_planted_fault_that_is_not_noticed_is_said_plainly_and_exits_with_1():
    audit = replace(PASSED, fault="noise_off", controls=BLIND)
    assert audit.exit_code == 1
    assert "DID NOT NOTICE" in audit.statement


def test_the_record_has_the_fixed_keys_and_is_json():
    record = json.loads(json.dumps(PASSED.as_json(), allow_nan=False))
    assert record["reported_epsilon"] == 2.25
    assert record["lower_bound"] == 0.5
    assert record["gaussian_fit_bound"] == 1.4
    assert record["passed"] is True
    assert record["controls"]["noise_off"]["detector"] == "canaries"
    assert record["controls"]["noise_off"]["caught"] is True
    assert record["checks"]["noise_size"]["passed"] is True
    assert (record["mode"], record["seed"], record["fault"]) == ("central", 4, None)
    assert any("sampling rate 1" in limit for limit in record["not_covered"])
    assert record["statement"] == PASSED.statement
