"""The privacy budget report of a run, recomputed from what lies in its folder.

A privacy officer signs it and a hostile reader checks it: every number comes from the ledger,
whatever contradicts another record stops the report, and nothing is then written.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from fedrec.errors import VerificationError
from fedrec.files import write_atomically
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.amplification import Amplified, amplified_by
from fedrec.privacy.plan import PrivacyPlan
from fedrec.reporting.figures import epsilon_text, number, rounded_up
from fedrec.reporting.privacy import facts, words
from fedrec.reporting.privacy.composition import composition
from fedrec.reporting.privacy.earlier import EarlierRun, runs_before
from fedrec.reporting.privacy.evidence import Evidence, part, read_evidence
from fedrec.reporting.privacy.facts import NOBODY, Stated
from fedrec.reporting.privacy.markdown import privacy_markdown
from fedrec.reporting.privacy.masks import masks_section
from fedrec.reporting.privacy.numbers import (
    accountant_section,
    epsilon_section,
    participations_section,
    recompute_section,
)
from fedrec.reporting.privacy.page import privacy_html
from fedrec.reporting.privacy.spending import by_round, spendings_of, together, worst_of
from fedrec.reporting.privacy.targets import JSON, MARKDOWN, PAGE, require_targets
from fedrec.reporting.privacy.utility import utility
from fedrec.reporting.privacy.verdict import verdict

Facts = dict[str, Any]
FORMAT = "fedrec privacy report 1"
SCHEMA = "report.schema.json"
# How far a statement may lie below what the same accountant gives now: its last digit.
_STATED_TOLERANCE = 1e-4


def write_privacy_report(run: Path, *, result: Mapping[str, Any] | None = None) -> None:
    """Write privacy.json, privacy.html and privacy.md into the folder of a run, or none of them.

    result: of a run that has not written its result.json yet. Raises what `privacy_report` raises.
    """
    write_report(privacy_report(run, result=result), run)


def write_report(report: Mapping[str, Any], folder: Path, *, html: bool = True, md: bool = True) -> list[Path]:
    """Put a report into a folder as privacy.json, privacy.html and privacy.md; returns what was written.

    html, md: whether to make the page, the Markdown. One that lies there from before is made anew
    in any case, so that all forms in a folder say the same. All are made before the first is written.
    Raises ConfigError where something else would be lost.
    """
    html, md = html or (folder / PAGE).exists(), md or (folder / MARKDOWN).exists()
    forms = {JSON: report_text(report)}
    digest = hashlib.sha256(forms[JSON].encode()).hexdigest()
    if html:
        forms[PAGE] = privacy_html(report, digest=digest)
    if md:
        forms[MARKDOWN] = privacy_markdown(report, digest=digest)
    require_targets(folder, forms)
    for name, form in forms.items():
        write_atomically(folder / name, form.encode())
    return [folder / name for name in forms]


def report_text(report: Mapping[str, Any]) -> str:
    """The JSON form, byte for byte as it is written and hashed."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def privacy_report(
    run: Path,
    *,
    also: Sequence[Path] = (),
    key: Path | None = None,
    stated: Stated = NOBODY,
    result: Mapping[str, Any] | None = None,
) -> Facts:
    """The report of a run as one JSON object that obeys `report.schema.json`.

    also: earlier runs on the same people, composed as if the same person had spent the most in
    each. key: the signer's public key from a trusted source; the run's own if None. result: what
    the run's result.json will hold; what it holds, if None.
    Raises ConfigError or DataError where there is no run to report on, VerificationError where
    accountants disagree or a record contradicts another: no epsilon is then told.
    """
    evidence = read_evidence(run, key=key, result=result)
    plan = evidence.plan
    report = {
        "format": FORMAT,
        "identity": facts.identity(evidence, stated),
        "setting": facts.setting(
            evidence.scenario.privacy.mode, served=evidence.served, masked=evidence.scenario.is_masked
        ),
        **(_private(evidence, plan, also) if plan else _plain(evidence, also)),
        "verification": facts.verification(evidence, own_key=key is None),
        "utility": utility(evidence),
        "limitations": _limitations(evidence),
    }
    report = {"format": FORMAT, "verdict": verdict(report), **report}
    require_schema(report)
    return report


def _limitations(evidence: Evidence) -> list[str]:
    engine = (evidence.result or {}).get("engine")
    unmasked = evidence.scenario.is_masked and not evidence.served and engine not in (None, "", "flower")
    return list(words.limitations(evidence.scenario.privacy.mode, served=evidence.served, unmasked=unmasked))


def schema() -> Facts:
    """The JSON Schema (2020-12) of a report."""
    return dict(json.loads(resources.files("fedrec.reporting.privacy").joinpath(SCHEMA).read_text(encoding="utf-8")))


def require_schema(report: Mapping[str, Any]) -> None:
    """Raise VerificationError if a report breaks its schema: then this program is at fault."""
    checker = jsonschema.Draft202012Validator(schema())
    for error in checker.iter_errors(report):
        place = "/".join(map(str, error.absolute_path)) or "the report"
        raise VerificationError(
            f"The report breaks its own schema at {place}: {error.message[:200]}. Nothing was written; report this."
        )


def _plain(evidence: Evidence, also: Sequence[Path]) -> Facts:
    """The sections of a run without noise: there is nothing to account."""
    _earlier_runs(evidence, also)
    parts = ("unit", "epsilon", "mechanism", "sampling", "accountant", "composition", "participations", "recompute")
    return {
        "protected": [],
        "not_protected": list(words.does_not_cover("none", "")),
        **dict.fromkeys(parts),
        "masks": None,
        "rounds": [],
    }


def _private(evidence: Evidence, plan: PrivacyPlan, also: Sequence[Path]) -> Facts:
    spendings = spendings_of(evidence.events)
    spent = worst_of(spendings, delta=plan.delta)
    _check_statements(evidence, plan)
    earlier = _earlier_runs(evidence, also)
    before = together(run.spending for run in earlier)
    composed = composition(evidence, plan, spendings, earlier, spent=spent)
    return {
        "unit": facts.unit(evidence, plan),
        "protected": list(words.covers(plan.mode, plan.unit)),
        "not_protected": list(words.does_not_cover(plan.mode, plan.unit)),
        "epsilon": epsilon_section(evidence, plan, spendings, spent),
        "mechanism": facts.mechanism(evidence, plan),
        "masks": masks_section(evidence, plan),
        "sampling": facts.sampling(evidence, plan),
        "accountant": accountant_section(evidence, plan, spent),
        "composition": composed,
        "participations": participations_section(evidence),
        "rounds": [
            {"round": round_, "epsilon": rounded_up(epsilon, 4)}
            for round_, epsilon in by_round(evidence.events, delta=plan.delta, before=before)
        ],
        "recompute": recompute_section(
            evidence.path,
            [run.evidence.path for run in earlier],
            delta=plan.delta,
            prints=composed["spent"]["epsilon"],
        ),
    }


def _earlier_runs(evidence: Evidence, also: Sequence[Path]) -> list[EarlierRun]:
    """The runs that were named, here or in the settings of the run, and those that they name."""
    named = [*map(Path, evidence.scenario.budget.earlier_runs), *also]
    return runs_before(evidence.plan, dict.fromkeys(named), own=evidence.path, head=evidence.head)


def _check_statements(evidence: Evidence, plan: PrivacyPlan) -> None:
    """Raise VerificationError if a release or the result claims less than the ledger says it cost."""
    stated = {name: (each.lineage["ledger_head"], each.privacy) for name, each in evidence.releases.items()}
    if evidence.result is not None:
        stated["result.json"] = (evidence.result["ledger_head"], part(evidence.result, "privacy"))
    for name, (head, privacy) in stated.items():
        events = evidence.until(str(head))
        spent = max((epsilon_of(each, delta=plan.delta) for each in spendings_of(events)), default=0.0)
        claimed = number(privacy.get("epsilon"))
        if (privacy.get("unit"), privacy.get("delta")) != (plan.unit, plan.delta):
            raise VerificationError(
                f"{name} states its epsilon per {privacy.get('unit')} at delta {privacy.get('delta')}, and this run is "
                f"per {plan.unit} at {plan.delta:g}. Do not publish either; report it as a fault."
            )
        if claimed is None or claimed < spent - _STATED_TOLERANCE:
            raise VerificationError(
                f"{name} states epsilon {claimed}, and its ledger gives {epsilon_text(spent)} up to there. "
                "Do not publish either; report it as a fault."
            )
        coins = amplified_by(plan, events, secret=evidence.scenario.privacy.noise == "system")
        _check_amplified(name, number(part(privacy, "amplified").get("epsilon")), coins)
        if privacy.get("guarantee") and not all(event["guarantee"] for event in events):
            raise VerificationError(f"{name} claims a guarantee, and its ledger holds noise that was seeded.")


def _check_amplified(name: str, claimed: float | None, found: Amplified | None) -> None:
    """Raise VerificationError if secret coins are said to be worth more than the ledger's are."""
    if claimed is None:
        return
    if found is None or found.value is None or claimed < found.value - _STATED_TOLERANCE:
        raise VerificationError(
            f"{name} states epsilon {claimed} by secret coins, and its ledger does not bear it out. Do not publish it; "
            "report it as a fault."
        )
