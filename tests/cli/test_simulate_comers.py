"""Secret coins and clients that come and go, through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedrec.data.synthetic import write_world
from fedrec.training.run_folder import read_rounds
from tests.cli.commands import fedrec

pytestmark = pytest.mark.slow

SCENARIO = """
seed = 4
[adapter]
ranks = { history_proj = 4 }
[federation]
rounds = 5
cohort = 6
server_optimizer = "fedavg"
release_every = 5
[privacy]
mode = "central"
noise_multiplier = 4.0
participations = 5
[evaluation]
every = 5
baselines = []
non_private_twin = false
"""
COINS = ("--set", "federation.sampling_rate=0.15")
NIGHTS = ("--set", 'availability={pattern="charging",share=0.8,drop_out=0.2}')


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=40, items=40, seed=8)
    (folder / "comers.toml").write_text(SCENARIO)
    return folder


def simulate(place: Path, out: str, *more: str) -> Any:
    data = ("--data", place / "world", "--out", place / out, "--engine", "cohort")
    return fedrec("simulate", place / "comers.toml", *data, *more)


def test_what_secret_coins_are_worth_stands_beside_the_headline_wherever_it_is_told(place: Path) -> None:
    done = simulate(place, "coins", *COINS)
    assert done.returncode == 0, done.stderr
    assert "by the server's secret coins" in " ".join(done.stdout.split())
    run = place / "coins"
    stated = json.loads((run / "result.json").read_text())["privacy"]
    report = json.loads((run / "privacy.json").read_text())
    assert stated["participations"] == 5
    assert stated["amplified"]["epsilon"] < report["epsilon"]["value"] <= stated["epsilon"]
    assert report["sampling"]["amplified"] == stated["amplified"]
    (release,) = (run / "releases").glob("*5*")
    assert "Beside it, by secret coins" in (release / "privacy.md").read_text()
    for page in ("report.html", "privacy.html", "privacy.md"):
        assert "secret coins" in (run / page).read_text()
    assert fedrec("privacy", "report", run).returncode == 0

    result = json.loads((run / "result.json").read_text())
    result["privacy"]["amplified"]["epsilon"] /= 2
    (run / "result.json").write_text(json.dumps(result))
    refused = fedrec("privacy", "report", run)
    assert refused.returncode != 0
    assert "secret coins" in refused.stderr


def test_with_a_pattern_of_who_is_there_nothing_is_claimed_for_coins(place: Path) -> None:
    done = simulate(place, "nights", *COINS, *NIGHTS, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "amplified" not in found["privacy"]
    told = found["availability"]
    assert (told["pattern"], len(told["there"])) == ("charging", 5)
    assert told["lost"] == sum(record["failures"].get("lost", 0) for record in read_rounds(place / "nights"))
    assert "Clients ever asked" in (place / "nights" / "report.html").read_text()


def test_a_cohort_that_its_coins_do_not_give_is_refused(place: Path) -> None:
    done = simulate(place, "wrong", "--set", "federation.sampling_rate=0.5")
    assert (done.returncode, done.stderr.count("error:")) == (2, 1)
    assert "Set cohort = 20" in done.stderr
    assert not (place / "wrong").exists()
