"""Central mode on 20,000 people: what simulations/studies/central_20k.md claims, with half the rounds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.study, pytest.mark.timeout(3000)]

RECIPE = Path(__file__).parents[2] / "simulations" / "recipes" / "central.toml"
FEDREC = Path(sys.executable).with_name("fedrec")
SETTINGS = (
    "federation.rounds=4",
    "federation.release_every=4",
    "evaluation.non_private_twin=false",
    'evaluation.baselines=["popularity", "zero_shot_text"]',
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("central")
    world = [FEDREC, "data", "synth", "--users", "20000", "--items", "1000", "--seed", "4", "--out", place / "world"]
    subprocess.run(world, check=True)
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [FEDREC, "simulate", RECIPE, "--data", place / "world", "--out", place / "run", "--final", *changes]
    subprocess.run(command, check=True)
    return place / "run"


@pytest.fixture(scope="module")
def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("baseline", ["popularity", "zero_shot_text"])
def test_its_interval_lies_above_the_baselines(result: dict[str, Any], baseline: str, part: str) -> None:
    assert result[part]["ndcg@10"]["low"] > result["baselines"][baseline][part]["ndcg@10"]["high"]


def test_the_guarantee_is_real_and_within_epsilon_8_for_a_whole_person(result: dict[str, Any]) -> None:
    privacy = result["privacy"]
    assert (privacy["mode"], privacy["unit"], privacy["adjacency"]) == ("central", "USER", "zero-out")
    assert privacy["guarantee"] is True
    assert 0 < privacy["epsilon"] <= 8
    assert privacy["delta"] <= 1e-6
    assert 1 <= privacy["participations"] <= privacy["participation_cap"] == 2
    assert "no amplification" in privacy["sampling"]


def test_all_20000_people_were_asked_and_the_report_is_there(run: Path, result: dict[str, Any]) -> None:
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    assert result["clients"] == 20_000
    assert [each["replies"] for each in rounds] == [5000] * 4
    assert "epsilon" in (run / "report.html").read_text()
    assert "epsilon" in (run / "privacy.md").read_text()
