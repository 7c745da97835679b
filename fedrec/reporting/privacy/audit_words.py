"""What an audit's record says, for a budget report; it is not signed, so nothing of it is trusted to be there."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedrec.reporting.document import Table
from fedrec.reporting.figures import ABSENT, number
from fedrec.reporting.privacy.evidence import part

Record = Mapping[str, Any]


def audit_words(audit: Record | None, *, mode: str = "central") -> str:
    """The outcome in one line, and what it is no proof of. mode: of the run."""
    if audit is None:
        option = "" if mode in ("central", "none") else f" --mode {mode}"
        return f"not audited: make a record with fedrec privacy audit{option} --out RUN/audit.json"
    outcome = "passed" if audit.get("passed") is True else "FAILED"
    bounds = f"at least {_figure(audit.get('lower_bound'))}"
    if number(audit.get("gaussian_fit_bound")) is not None:
        bounds += f" (in one run; {_figure(audit.get('gaussian_fit_bound'))} by a Gaussian fit)"
    return (
        f"{outcome}: canaries sent through the path of mode {audit.get('mode', 'unknown')} show an epsilon of "
        f"{bounds}, where {_figure(audit.get('reported_epsilon'))} is accounted for on them. They are not the people "
        "of this run, and passing is no proof."
    )


def audit_fault(audit: Record | None, *, mode: str) -> str:
    """Why an audit speaks against a run of this mode; empty where it does not."""
    if audit is None:
        return ""
    if audit.get("fault") is not None:
        return "The record in the run folder is of a fault that was planted, not of the path. Audit it without --fault."
    if audit.get("passed") is not True:
        return str(audit.get("statement") or "An attack on the path found more than its epsilon allows.")
    if audit.get("mode", mode) != mode:
        return f"The record in the run folder is of mode {audit.get('mode')}, and this run is of mode {mode}."
    return ""


def audit_tables(audit: Record | None) -> Iterator[Table]:
    """The checks on the path, and the faults that were planted to see whether the audit notices them."""
    controls = [
        (name, str(each.get("what", ABSENT)), str(each.get("detector", ABSENT)), _said(each.get("caught"), "caught"))
        for name in part(audit, "controls")
        for each in [part(audit, "controls", name)]
    ]
    if controls:
        columns = ("Fault", "What it does", "Detector", "Outcome")
        yield Table("Faults that the audit planted", columns, controls, wide=True, folded=True)
    checks = [
        (str(each.get("what", name)), _figure(each.get("found")), _said(each.get("passed"), "sound"))
        for name in part(audit, "checks")
        for each in [part(audit, "checks", name)]
    ]
    if checks:
        yield Table("What the audit measured", ("Check", "Found", "Outcome"), checks, wide=True, folded=True)


def _said(outcome: object, good: str) -> str:
    if outcome is True:
        return good
    return "MISSED" if good == "caught" else "FAILED"


def _figure(value: object) -> str:
    found = number(value)
    return ABSENT if found is None else f"{found:.4g}"
