"""`pip install fedrec[edge]` in an empty environment: small, without torch, and a device works in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedrec.data.synthetic import write_world

REPOSITORY = Path(__file__).parents[1]
GUIDE = REPOSITORY / "docs/guides/edge.md"
_MOST_BYTES = 300e6
SCENARIO = """name = "edge"
seed = 1
[adapter]
ranks = { history_proj = 8 }
[federation]
rounds = 1
cohort = 6
[evaluation]
baselines = []
non_private_twin = false
"""

pytestmark = pytest.mark.edge


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds fedrec[edge] and nothing else."""
    folder = tmp_path_factory.mktemp("edge") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "--quiet", f"{REPOSITORY}[edge]"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with signed releases, made by the training side."""
    folder = tmp_path_factory.mktemp("training")
    write_world(folder / "world", users=6, items=60, seed=3)
    (folder / "scenario.toml").write_text(SCENARIO)
    fedrec = Path(sys.executable).with_name("fedrec")
    command = [fedrec, "simulate", folder / "scenario.toml", "--data", folder / "world", "--out", folder / "run"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "run"


@pytest.fixture
def device(environment: Path, run: Path, tmp_path: Path) -> Path:
    (release,) = (run / "releases").glob("00001*")
    made = tmp_path / "DEVICE"
    command = [environment / "fedrec", "client", "init", made, "--release", release, "--key", run / "signing.pub"]
    subprocess.run(command, check=True, env=_headless())
    return made


def test_the_environment_is_small_and_has_no_torch(environment: Path) -> None:
    files = (path for path in environment.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert sum(path.stat().st_size for path in files) < _MOST_BYTES
    for heavy in ("torch", "polars", "scipy", "flwr", "usearch"):
        assert subprocess.run([environment / "python", "-c", f"import {heavy}"], capture_output=True).returncode


def test_a_device_records_recommends_and_reads_a_search_text(environment: Path, device: Path) -> None:
    def client(*words: str) -> dict:
        command = [environment / "fedrec", "client", words[0], device, *words[1:], "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, env=_headless()).stdout)

    first = client("recommend", "-k", "5")["items"]
    assert len(first) == 5
    client("record", "--item", first[0]["item_id"], "--kind", "like")
    client("record", "--kind", "search", "--text", "a quiet evening with a telescope")
    then = client("recommend", "-k", "5")["items"]
    assert first[0]["item_id"] not in [item["item_id"] for item in then]
    reasons = [reason["because"] for item in then for reason in item["reasons"]]
    assert any("telescope" in reason for reason in reasons)
    assert any(first[0]["title"] in reason for reason in reasons)


def test_the_guides_python_runs(environment: Path, device: Path) -> None:
    blocks = [block.partition("```")[0] for block in GUIDE.read_text().split("```python\n")[1:]]
    assert len(blocks) == 2
    printed = subprocess.run(
        [environment / "python", "-c", blocks[0]], cwd=device.parent, check=True, capture_output=True, env=_headless()
    ).stdout
    assert len(printed.splitlines()) == 5
    page = [environment / "fedrec", "client", "page", device, "--no-browser"]
    with subprocess.Popen(page, stdout=subprocess.PIPE, env=_headless()) as agent:
        try:
            assert agent.stdout
            assert b"127.0.0.1" in agent.stdout.readline()
            answer = subprocess.run(
                [environment / "python", "-c", blocks[1]], cwd=device.parent, check=True, capture_output=True
            ).stdout
        finally:
            agent.terminate()
    assert len(answer.splitlines()) == 5


def test_what_needs_the_training_side_says_so_in_one_line(environment: Path, tmp_path: Path) -> None:
    scenario = REPOSITORY / "simulations/movielens_small.toml"
    command = [environment / "fedrec", "simulate", scenario, "--data", tmp_path, "--out", tmp_path / "run"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "fedrec[train" in refused.stderr


def _headless() -> dict[str, str]:
    return os.environ | {"FEDREC_KEY_FILE": "1"}
