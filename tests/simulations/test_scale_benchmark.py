"""The benchmark of scale runs as it stands; the scenario of a million keeps its own promises."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedrec.config_file import load_scenario
from fedrec.privacy.accounting import composed, epsilon_of
from fedrec.secagg.planned import plan_of

REPOSITORY = Path(__file__).parents[2]
MILLION = REPOSITORY / "simulations" / "million.toml"
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.study
def test_the_scale_benchmark_prints_what_it_promises() -> None:
    command = [sys.executable, REPOSITORY / "simulations/bench/scale.py", "--json", "--quick"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout)
    assert set(report) == {"machine", "work", "results", "ratios"}
    assert report["work"]["users"] == 100_000
    promised = {"fit_fixed_s", "fit_per_client_s", "fit_worst_error", "peak_gib", "rate_10k", "rate_100k"}
    assert promised <= set(report["results"])
    # A quick run does not say what it did not measure.
    assert "rate_1m" not in report["results"]
    assert report["results"]["peak_gib"] < 4


def test_a_line_through_times_on_a_line_is_that_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "simulations" / "bench")
    from scale import fitted

    found = fitted([100, 1000, 10_000], (0.2 + 0.001 * np.array([100, 1000, 10_000])).tolist())
    assert found == pytest.approx({"fit_fixed_s": 0.2, "fit_per_client_s": 0.001, "fit_worst_error": 0.0}, abs=1e-9)
    assert fitted([100, 1000, 10_000], [0.3, 1.2, 20.4])["fit_worst_error"] > 0.15


def test_the_scenario_of_a_million_spends_what_its_comment_says_and_its_cap_fits() -> None:
    scenario = load_scenario(MILLION)
    plan = plan_of(scenario)
    assert plan is not None
    assert (scenario.privacy.mode, scenario.privacy.unit, scenario.model.tower) == ("central", "USER", "linear")
    assert (scenario.federation.rounds, scenario.federation.cohort) == (100, 2000)
    epsilon = epsilon_of(composed(plan.spends(plan.limits.most)), delta=plan.delta)
    assert re.findall(r"epsilon (\d+\.\d{4})", MILLION.read_text()) == [f"{np.ceil(1e4 * epsilon) / 1e4:.4f}"]
    assert epsilon <= (scenario.budget.epsilon or 0) <= 8
    assert plan.delta <= 1 / (10 * 1_000_000)
    assert scenario.federation.rounds * scenario.federation.asked <= 1_000_000 * plan.limits.most
