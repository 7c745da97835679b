"""Central mode through the command line: budget, popularity, metrics, correlated noise, resumption."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedrec.config_file import read_run_config
from fedrec.data.synthetic import write_world
from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import participations
from fedrec.training.run_folder import read_rounds
from tests.cli.commands import FEDREC, fedrec

SCENARIO = """
seed = 4
[model]
prior = "released"
prior_weight = 0.3
[adapter]
ranks = { history_proj = 8 }
[federation]
rounds = 4
cohort = 8
server_optimizer = "momentum"
server_rate = 1.0
release_every = 2
[privacy]
mode = "central"
noise_multiplier = 4.0
participations = 2
[popularity]
items = 5
noise_multiplier = 8.0
[released_metrics]
noise_multiplier = 16.0
[correlated_noise]
bands = 2
separation = 2
[evaluation]
every = 2
baselines = []
non_private_twin = false
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=36, items=60, seed=8)
    (folder / "central.toml").write_text(SCENARIO)
    return folder


def simulate(place: Path, out: str, *more: str) -> dict[str, Any]:
    done = fedrec("simulate", place / "central.toml", "--data", place / "world", "--out", place / out, "--json", *more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def central(place: Path) -> dict[str, Any]:
    return simulate(place, "run")


@pytest.mark.slow
def test_the_privacy_object_names_mode_unit_and_cap(central: dict[str, Any]) -> None:
    privacy = central["privacy"]
    assert (privacy["mode"], privacy["unit"], privacy["guarantee"]) == ("central", "USER", True)
    assert 1 <= privacy["participations"] <= privacy["participation_cap"] == 2
    assert 0 < privacy["epsilon"] < privacy["epsilon_replace_one"]


@pytest.mark.slow
def test_the_ledger_holds_popularity_updates_and_metrics(central: dict[str, Any], place: Path) -> None:
    assert central
    events = read_events(place / "run" / "ledger.jsonl")
    assert [event["kind"] for event in events] == ["popularity", *("update", "metrics") * 4]
    assert len(events[0]["participants"]) == 36
    assert max(participations(events).values()) <= 2
    records = read_rounds(place / "run")
    assert all(set(record["released_metrics"] or {"loss": 0}) >= {"loss"} for record in records)


@pytest.mark.slow
def test_a_release_recommends_with_the_released_popularity(central: dict[str, Any], place: Path) -> None:
    (last,) = (place / "run" / "releases").glob("00004-*")
    for path in (last, place / "run"):
        done = fedrec("evaluate", path, "--data", place / "world", "--json")
        assert done.returncode == 0, done.stderr
        for name, metric in json.loads(done.stdout)["validation"].items():
            assert metric == pytest.approx(central["validation"][name], rel=1e-6)


@pytest.mark.slow
def test_both_engines_agree_to_the_last_bit_under_seeded_noise(place: Path) -> None:
    for engine in ("reference", "flower"):
        found = simulate(place, engine, "--engine", engine, "--set", "privacy.noise=seeded")
        assert found["privacy"]["guarantee"] is False
        assert "NOT A DP GUARANTEE" in found["privacy"]["statement"]
    states = [(place / engine / "state.safetensors").read_bytes() for engine in ("reference", "flower")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_a_run_over_its_budget_is_refused_before_any_message_and_names_the_round(place: Path) -> None:
    done = fedrec(
        *("simulate", place / "central.toml", "--data", place / "world", "--out", place / "over"),
        *("--set", "budget.epsilon=1.6", "--set", "privacy.participations=9"),
    )
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "Round 3 would spend epsilon" in error
    assert "over the budget of 1.6" in error
    assert not (place / "over").exists()


@pytest.mark.slow
def test_what_an_earlier_run_spent_counts_against_the_budget(central: dict[str, Any], place: Path) -> None:
    earlier = f'budget.earlier_runs=["{place / "run"}"]'
    budget = f"budget.epsilon={central['privacy']['epsilon'] + 0.5}"
    done = fedrec(
        *("simulate", place / "central.toml", "--data", place / "world", "--out", place / "later"),
        *("--set", budget, "--set", earlier),
    )
    assert done.returncode == 1
    assert "over the budget" in done.stderr
    missing = fedrec(
        *("simulate", place / "central.toml", "--data", place / "world", "--out", place / "later"),
        *("--set", 'budget.earlier_runs=["nowhere"]'),
    )
    assert missing.returncode == 2
    assert "nowhere is not a run folder" in missing.stderr


@pytest.mark.slow
def test_an_earlier_run_without_noise_or_without_its_entries_is_refused_before_anything_is_written(
    central: dict[str, Any], place: Path
) -> None:
    assert central
    plain = ("model.prior=none", "privacy.mode=none", "privacy.participations=1", "released_metrics={}")
    no_noise = ("--set", "correlated_noise={}", *(word for each in plain for word in ("--set", each)))
    simulate(place, "plain", *no_noise)
    shutil.copytree(place / "run", place / "emptied")
    (place / "emptied" / "ledger.jsonl").write_bytes(b"")
    for earlier, code, says in (("plain", 2, "no epsilon bounds the two"), ("emptied", 1, "ledger.jsonl")):
        done = fedrec(
            *("simulate", place / "central.toml", "--data", place / "world", "--out", place / "never"),
            *("--set", f'budget.earlier_runs=["{place / earlier}"]'),
        )
        assert done.returncode == code
        assert says in done.stderr
        assert not (place / "never").exists()


@pytest.mark.slow
def test_earlier_runs_are_kept_by_a_path_that_is_found_from_any_folder(central: dict[str, Any], place: Path) -> None:
    assert central
    near = os.path.relpath(place / "run")
    simulate(place, "second", "--set", f'budget.earlier_runs=["{near}"]')
    scenario, _ = read_run_config(place / "second")
    assert [Path(run) for run in scenario.budget.earlier_runs] == [(place / "run").resolve()]
    done = subprocess.run(
        [FEDREC, "privacy", "report", place / "second", "--json"], cwd=place / "world", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["composition"]
    assert [each["run"] for each in found["earlier_runs"]] == ["run"]
    assert found["spent"]["epsilon"] > central["privacy"]["epsilon"]
