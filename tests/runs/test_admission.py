import numpy as np
import pytest

from fedrec.config_file import parse_scenario
from fedrec.errors import ConfigError
from fedrec.privacy.randomness import seeded_source
from fedrec.runs.admission import require_bound_over_noise
from fedrec.secagg.planned import plan_of
from fedrec.training.learner import LocalTask
from fedrec.training.local import TorchLearner
from tests.small_worlds import a_model


def a_scenario(bound, **privacy):
    """Local mode on hubs, with a norm bound."""
    return parse_scenario(
        {
            "name": "hubs",
            "data": {"users_per_client": 10},
            "training": {"steps": 4, "learning_rate": 0.5},
            "privacy": {"mode": "local", "noise_multiplier": 2.0, "expected_batch": 5.0, **privacy},
            "federation": {"norm_bound": bound},
        }
    )


def noise_alone(scenario, model):
    """The length of what a client without anybody's data sends."""
    task = LocalTask(adapter=np.zeros(model.layout.size, np.float32), negatives_seed=0)
    source = seeded_source(1, "noise")
    plan = plan_of(scenario)
    return float(np.linalg.norm(TorchLearner(model).update([], task, scenario.training, plan=plan, source=source)))


def test_a_norm_bound_under_the_noise_of_an_update_is_refused():
    model = a_model({"history_proj": 12})
    scenario = a_scenario(None)
    length = noise_alone(scenario, model)
    with pytest.raises(ConfigError, match="hardly any"):
        require_bound_over_noise(a_scenario(0.7 * length), plan_of(scenario), size=model.layout.size)
    require_bound_over_noise(a_scenario(1.4 * length), plan_of(scenario), size=model.layout.size)


def test_without_noise_or_without_a_bound_any_is_admitted():
    require_bound_over_noise(a_scenario(None), plan_of(a_scenario(None)), size=10**6)
    require_bound_over_noise(a_scenario(1e-6), None, size=10**6)
