"""`kill -9` at random moments: the same releases, and a ledger that hides no noise that was drawn."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow

KILLS = 5


# Twenty moments in `make test`, fifty in `make study`.
@pytest.fixture(scope="module", params=[4, pytest.param(10, marks=pytest.mark.study)])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs: int = request.param
    folder = tmp_path_factory.mktemp("killed")
    driver = "tests.federation.kill_driver"
    done = subprocess.run(
        [sys.executable, "-m", driver, folder, str(runs), str(KILLS), "17"], capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(found["killed"]) == runs
    return found


def interrupted(run: dict[str, Any]) -> list[tuple[str, int, int]]:
    """(token, client, attempt) of each attempt that a client paid for again, by the clients' own ledgers."""
    return sorted(
        (event["token"], int(client), event["attempt"] - 1)
        for client, events in run["clients"].items()
        for event in events
        if event["attempt"] > 1
    )


def test_a_killed_run_publishes_the_same_releases(story: dict[str, Any]) -> None:
    for run in story["killed"]:
        assert run["releases"] == story["whole"]["releases"]
        assert run["rounds"] == story["whole"]["rounds"]


def test_the_ledger_holds_an_uninterrupted_runs_entries_plus_one_per_interrupted_attempt(story: dict[str, Any]) -> None:
    def paid(run: dict[str, Any]) -> list[Any]:
        # A round that was cut off is charged to its cohort at once; what its replies add later charges nobody again.
        whole = (event for event in run["ledger"] if "attempt" not in event and event["participants"])
        return [(event["round"], event["participants"]) for event in whole]

    for run in story["killed"]:
        assert paid(run) == paid(story["whole"])
        extra = sorted(
            (event["token"], event["client"], event["attempt"]) for event in run["ledger"] if "attempt" in event
        )
        assert extra == interrupted(run)
        assert len(extra) <= KILLS


def test_a_client_pays_once_per_round_and_once_more_per_interruption(story: dict[str, Any]) -> None:
    def first_attempts(run: dict[str, Any]) -> dict[str, list[int]]:
        return {
            client: [event["round"] for event in events if event["attempt"] == 1]
            for client, events in run["clients"].items()
        }

    assert not interrupted(story["whole"])
    for run in story["killed"]:
        assert first_attempts(run) == first_attempts(story["whole"])


@pytest.mark.study
@pytest.mark.parametrize("story", [10], indirect=True)
def test_some_attempts_were_really_interrupted_after_they_were_paid_for(story: dict[str, Any]) -> None:
    assert any(interrupted(run) for run in story["killed"])
