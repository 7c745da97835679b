"""Sums under masks through the command line: distributed mode, and local mode with masks."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedrec.data.synthetic import write_world
from fedrec.privacy.ledger import read_events
from fedrec.training.run_folder import read_rounds
from tests.cli.commands import fedrec

pytestmark = pytest.mark.slow

SCENARIO = """
seed = 4
[adapter]
ranks = { history_proj = 8 }
[federation]
rounds = 2
cohort = 12
timeout = 120
[privacy]
mode = "distributed"
clip_norm = 0.5
noise_multiplier = 4.0
participations = 2
[secure_aggregation]
drop_out = 0.2
corruption = 0.1
[evaluation]
every = 2
baselines = []
non_private_twin = false
"""
LOCAL = (
    *("--set", "privacy.mode=local", "--set", "privacy.unit=SEGMENT"),
    *("--set", "secure_aggregation.enabled=true", "--set", "federation.norm_bound=200.0"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=30, items=60, seed=8)
    (folder / "masked.toml").write_text(SCENARIO)
    return folder


def simulate(place: Path, out: str, *more: str) -> dict[str, Any]:
    done = fedrec("simulate", place / "masked.toml", "--data", place / "world", "--out", place / out, "--json", *more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("more", [(), LOCAL], ids=["distributed", "local"])
def test_what_comes_from_under_the_masks_is_the_plain_sum_to_the_last_bit(
    place: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """The reference engine adds up what clients would mask; Flower's messages carry it masked."""
    for engine in ("reference", "flower"):
        simulate(place, str(tmp_path / engine), "--engine", engine, "--set", "privacy.noise=seeded", *more)
    states = [(tmp_path / engine / "state.safetensors").read_bytes() for engine in ("reference", "flower")]
    assert states[0] == states[1]
    assert [record["replies"] for record in read_rounds(tmp_path / "flower")] == [12, 12]


def test_a_run_says_what_its_epsilon_rests_on(place: Path) -> None:
    found = simulate(place, "run")
    privacy = found["privacy"]
    assert (privacy["mode"], privacy["unit"], privacy["guarantee"]) == ("distributed", "USER", True)
    assert "Skellam" in privacy["accountant"]
    assert 0 < privacy["epsilon"] < privacy["epsilon_replace_one"]
    events = read_events(place / "run" / "ledger.jsonl")
    assert [(event["mechanism"], len(event["participants"])) for event in events] == [("distributed_skellam", 12)] * 2


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("secure_aggregation.drop_out=0.45", "Lower secure_aggregation.drop_out"),
        ("secure_aggregation.size=10", "secure_aggregation.size"),
        ("federation.cohort=40", "a full cohort"),
        ("federation.over_selection=0.5", "federation.over_selection"),
        ("model.prior=released", "server's noise"),
        ("secure_aggregation.corruption=1.5", "a share of a cohort"),
    ],
)
def test_settings_that_no_sum_under_masks_serves_get_one_line(place: Path, setting: str, said: str) -> None:
    out = place / "refused"
    done = fedrec("simulate", place / "masked.toml", "--data", place / "world", "--out", out, "--set", setting)
    assert done.returncode == 2
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert said in error
    assert not out.exists()
