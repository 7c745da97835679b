"""Whole studies through the command line: killed and gone on with, failed runs beside others, a search by optuna."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.commands import FEDREC, fedrec
from tests.studies.small_studies import SCENARIO, a_study

PATIENCE = 240


def children(process: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = file.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(words[1]) == process and words[0] != "Z":
            found.append(int(file.parent.name))
    return found


def until(true: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_study_on_a_device_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    path = a_study(tmp_path, study={"devices": ["cpu", "banana"]}, scenario=SCENARIO)
    done = fedrec("simulate", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no `banana`" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_study_goes_on_with_what_is_left_and_a_refused_run_stops_no_other(tmp_path: Path) -> None:
    grid = {"privacy": {"noise_multiplier": [4.0, 8.0]}, "federation": {"rounds": [2, 3]}}
    spread = {"processes": 2, "devices": ["cpu:0", "cpu"]}
    path = a_study(tmp_path, study=spread, grid=grid, scenario={**SCENARIO, "budget": {"epsilon": 1.2}})
    out = tmp_path / "out"
    process = subprocess.Popen([FEDREC, "simulate", path, "--out", out], stderr=subprocess.DEVNULL)
    finished = lambda: {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}  # noqa: E731
    until(lambda: finished() or process.poll() is not None, "a finished run")
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finished()
    assert before
    assert workers
    until(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers), "the end of its processes")

    before = finished()
    done = fedrec("simulate", path, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["runs"], found["failed"], len(found["settings"])) == (8, 4, 2)
    assert found["best"]["settings"]["privacy.noise_multiplier"] == 8.0
    assert before.items() <= finished().items()
    table = pl.read_parquet(out / "results.parquet")
    failed = table.filter(pl.col("failure").is_not_null())
    assert failed["privacy.noise_multiplier"].unique().to_list() == [4.0]
    assert all("over the budget of 1.2" in line for line in failed["failure"])
    assert "Runs that failed" in (out / "report.html").read_text()
    answered = fedrec("privacy", "plan", "--utility", out, "--epsilon", "1.2", "--rounds", "2", "--json")
    assert [each["rounds"] for each in json.loads(answered.stdout)["satisfying"]] == [2]


@pytest.mark.slow
def test_optuna_searches_on_proxy_data_and_the_chosen_setting_runs_on_the_data(tmp_path: Path) -> None:
    assert fedrec("data", "synth", "--users", 40, "--items", 60, "--out", tmp_path / "data").returncode == 0
    path = a_study(
        tmp_path,
        study={"how": "optuna", "trials": 3, "seeds": [1]},
        world=None,
        grid=None,
        proxy={"users": 30, "items": 60, "seed": 3},
        search={"federation": {"server_rate": {"low": 0.1, "high": 10.0, "log": True}}},
    )
    command = ("simulate", path, "--data", tmp_path / "data", "--out", tmp_path / "out", "--json")
    done = fedrec(*command)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    best = found["best"]
    searched = [each for each in found["settings"] if each["part"] == "search"]
    assert (best["part"], best["population"], found["runs"], len(searched)) == ("chosen", 40, 4, 3)
    assert {each["population"] for each in searched} == {30}
    top = max(searched, key=lambda each: each["ndcg@10"]["value"])
    assert best["settings"] == top["settings"]
    assert json.loads(fedrec(*command).stdout) == found
