"""Each planted fault, in either mode: is it really in the path, caught, and gone afterwards?"""

import pytest

from fedrec.audit import neighbours
from fedrec.audit.faults import CANARIES, FAULTS, NEIGHBOURS, fault_named, injected
from fedrec.audit.run import control
from fedrec.errors import ConfigError

pytestmark = pytest.mark.slow

BY_CANARIES = [name for name, fault in FAULTS.items() if fault.detector == CANARIES]
BY_NEIGHBOURS = [name for name, fault in FAULTS.items() if fault.detector == NEIGHBOURS]


def test_the_faults_that_must_be_caught_are_all_there():
    assert set(BY_CANARIES) == {"noise_off", "half_noise", "clip_off", "example_weights", "reused_seed"}
    assert set(BY_NEIGHBOURS) == {"sliding_windows", "in_batch_negatives", "coupled_loss"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_gone_after_its_block_even_if_that_fails(name):
    fault = fault_named(name)
    before = [getattr(part.owner, part.name) for part in fault.parts]
    with pytest.raises(ZeroDivisionError), injected(fault):
        assert [getattr(part.owner, part.name) for part in fault.parts] == [part.broken for part in fault.parts]
        raise ZeroDivisionError
    assert [getattr(part.owner, part.name) for part in fault.parts] == before


@pytest.mark.parametrize(
    ("given", "nearest"), [("halfnoise", "half_noise"), ("windows", "sliding_windows"), ("x", "noise_off")]
)
def test_an_unknown_fault_names_a_known_one(given, nearest):
    with pytest.raises(ConfigError, match="Choose from noise_off") as refused:
        fault_named(given)
    assert nearest in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("seed", range(3))
def test_one_unit_of_the_deployed_code_moves_its_sum_by_the_clip_norm_at_most(seed):
    for movement in (neighbours.user_movement(seed), neighbours.segment_movement(seed)):
        assert 0.5 < movement <= 1 + neighbours.TOLERANCE


@pytest.mark.parametrize("name", BY_NEIGHBOURS)
def test_neighbouring_data_find_a_fault_that_couples_units(name):
    found = control(FAULTS[name], "local", seed=0)
    assert found.caught
    assert found.found > 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["central", "distributed", "local"])
@pytest.mark.parametrize("name", BY_CANARIES)
def test_canaries_find_a_fault_of_clip_weight_or_noise(name, mode):
    found = control(FAULTS[name], mode, seed=0)
    assert found.caught
    # Equal shares add up to what the server drops: no canary is seen, and the checks of the noise notice.
    dropped = (name, mode) == ("reused_seed", "distributed")
    assert found.detector == ("noise checks" if dropped else "canaries")
