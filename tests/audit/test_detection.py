"""How often it alarms, and how often it catches: twenty audits of each mode (`make audit`)."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from fedrec.audit.faults import FAULTS
from fedrec.audit.outcome import Audit
from fedrec.audit.run import run_audit

SEEDS = 20


@pytest.fixture(scope="module")
def audits() -> dict[str, list[Audit]]:
    """Every audit of every mode, on all cores."""
    # Fresh processes: a fork of one in which torch has run may hang.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawned) as pool:
        waiting = {
            mode: [pool.submit(run_audit, mode, seed=seed) for seed in range(SEEDS)]
            for mode in ("central", "distributed", "local")
        }
        return {mode: [each.result() for each in jobs] for mode, jobs in waiting.items()}


def table(mode: str, audits: list[Audit]) -> Iterator[str]:
    """The counts, with the range of the figure that decides."""
    alarms = sum(bool(audit.alarms) for audit in audits)
    fits = [audit.bounds.gaussian_fit for audit in audits]
    runs = [audit.bounds.one_run for audit in audits]
    yield f"\n{mode}: reported epsilon {audits[0].reported_epsilon:.2f}; alarms on the path {alarms} of {len(audits)}"
    yield f"  one-run bound {min(runs):.2f}-{max(runs):.2f}, Gaussian fit {min(fits):.2f}-{max(fits):.2f}"
    for name in FAULTS:
        controls = [audit.controls[name] for audit in audits]
        found = [control.found for control in controls]
        caught = sum(control.caught for control in controls)
        yield (
            f"  {name:20} caught {caught} of {len(audits)} by {controls[0].detector}, {min(found):.2f}-{max(found):.2f}"
        )


@pytest.mark.audit
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("mode", ["central", "distributed", "local"])
def test_no_alarm_on_the_path_and_every_fault_caught_in_every_audit(
    audits: dict[str, list[Audit]], mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print("\n".join(table(mode, audits[mode])))
    assert [audit.alarms for audit in audits[mode] if audit.alarms] == []
    assert [(audit.seed, audit.missed) for audit in audits[mode] if audit.missed] == []
