"""`kill -9` at 200 random moments of a central server's writing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 200


@pytest.mark.slow
def test_no_kill_leaves_a_release_without_its_entry_or_two_of_one_round(tmp_path: Path) -> None:
    driver = "tests.training.kill_server"
    done = subprocess.run(
        [sys.executable, "-m", driver, tmp_path, str(KILLS), "7"], capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faults"] == []
    assert found["kills"] == KILLS
    assert found["resumed"] > KILLS / 4
    # Some kills fell between paying for noise and keeping it: those rounds were paid for twice.
    assert found["paid_again"] > 0
