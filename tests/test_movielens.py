"""Whole scenarios on MovieLens latest-small: what the README claims of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real_data import latest_small

pytestmark = [pytest.mark.study, pytest.mark.timeout(3000)]

REPOSITORY = Path(__file__).parents[1]
FEDREC = Path(sys.executable).with_name("fedrec")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = latest_small()
    folder = tmp_path_factory.mktemp("movielens")
    subprocess.run([FEDREC, "data", "import", "movielens", data, "--out", folder / "data"], check=True)
    return folder


def simulate(place: Path, name: str, *settings: str) -> dict[str, Any]:
    changes = [word for setting in settings for word in ("--set", setting)]
    scenario = REPOSITORY / "simulations" / f"{name}.toml"
    command = [FEDREC, "simulate", scenario, "--data", place / "data", "--out", place / name, "--json", *changes]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def test_without_noise_the_federation_beats_ease_and_text_with_popularity(place: Path) -> None:
    result = simulate(place, "movielens_small")
    ndcg = {name: found["validation"]["ndcg@10"]["value"] for name, found in result["baselines"].items()}
    best = max(ndcg["ease"], ndcg["zero_shot_popularity"])
    assert result["validation"]["ndcg@10"]["value"] >= 1.15 * best
    assert result["privacy"]["guarantee"] is False


def test_with_opacus_on_every_device_the_epsilon_names_its_unit(place: Path) -> None:
    result = simulate(place, "movielens_small_local_dp", "evaluation.baselines=[]", "evaluation.non_private_twin=false")
    privacy = result["privacy"]
    assert (privacy["mode"], privacy["unit"], privacy["guarantee"]) == ("local", "SEGMENT", True)
    assert 0 < privacy["epsilon"] < 10
    assert privacy["participations"] <= 6
