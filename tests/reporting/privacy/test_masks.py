"""What a budget report says of sums under masks: whom they trust, what they cost, and which rounds gave nothing."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import VerificationError
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.seal import Seal
from fedrec.release import signing_key
from fedrec.reporting.privacy.evidence import read_evidence
from fedrec.reporting.privacy.markdown import privacy_markdown
from fedrec.reporting.privacy.masks import without_sum
from fedrec.reporting.privacy.page import privacy_html
from fedrec.reporting.privacy.report import privacy_report
from fedrec.reporting.privacy.words import UNMASKED
from tests.reporting.privacy.runs import (
    CENTRAL,
    DISTRIBUTED,
    MASKED,
    a_client_entry,
    a_run,
    an_event,
    changed,
    the_plan,
)

Json = dict[str, Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Json:
    return privacy_report(a_run(tmp_path_factory.mktemp("run") / "distributed", DISTRIBUTED))


def _append(run: Path, event: Json) -> None:
    with Ledger(run / "ledger.jsonl", seal=Seal(run / "ledger.seal", signing_key(run / "signing.key"))) as ledger:
        ledger.append(event)


def _failed(run: Path, number: int, **failures: int) -> None:
    """Rewrite the record of a round as of one that gave nothing."""
    lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"failures": failures if line["round"] == number else {}, "update_norm": float(line["round"] != number)}
    (run / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_epsilon_says_whose_bound_it_is_and_what_the_published_one_and_a_gaussian_give(report: Json) -> None:
    accountant = report["accountant"]
    assert accountant["name"].startswith("RDP (Skellam bound of Agarwal et al. 2021, and fedrec's own")
    assert accountant["cross_check"]["name"] == "RDP of Gaussian noise of the same size, dp-accounting"
    assert accountant["cross_check"]["epsilon"] <= accountant["epsilon"] <= accountant["published_epsilon"]
    assert accountant["epsilon"] == pytest.approx(accountant["cross_check"]["epsilon"], rel=0.01)
    assert "replaced" not in accountant["relation"] and "zeros in its place" in accountant["relation"]


def test_where_the_best_order_is_no_whole_one_the_published_bound_alone_gives_more(tmp_path: Path) -> None:
    loud = changed(DISTRIBUTED, privacy={"noise_multiplier": 0.5})
    accountant = privacy_report(a_run(tmp_path / "run", loud))["accountant"]
    assert accountant["published_epsilon"] > accountant["epsilon"] * 1.001


@pytest.mark.parametrize("form", ["page", "markdown"])
def test_all_that_a_sum_rests_on_is_told_in_every_form(report: Json, form: str) -> None:
    forms: dict[str, Callable[..., str]] = {"page": privacy_html, "markdown": privacy_markdown}
    text = " ".join(forms[form](report, digest="0" * 64).split())
    summed = the_plan(DISTRIBUTED).secure_sum
    assert summed is not None
    for said in (
        "1 of 5 (20%)",
        f"{summed.steps:,} steps to the norm 0.5, for at most 4,096 numbers",
        f"{summed.bits} bits",
        "not trusted with updates",
        "devices of its own",
        "ruins a round",
        "move a sum unseen",
        "docs/secagg.md",
        "not audited: make a record with fedrec privacy audit --mode distributed",
    ):
        assert said in text, said
    assert (report["masks"]["least_honest"], report["mechanism"]["n_min"]) == (summed.least_honest,) * 2


def test_noise_in_the_ledger_is_told_in_the_units_of_an_update(report: Json) -> None:
    real = report["mechanism"]["noise_std_realised"]
    assert real["least"] == real["most"] == pytest.approx(4.0 * 0.5, rel=1e-6)
    assert real["least"] >= 4.0 * 0.5
    assert report["mechanism"]["grid"] * report["masks"]["steps"] == pytest.approx(0.5)


def test_who_may_collude_is_assumed_and_that_the_server_enrols_stands_in_it(report: Json) -> None:
    (found,) = (each for each in report["accountant"]["assumptions"] if "collude with the server" in each["assumption"])
    assert found["state"] == "assumed"
    assert "At most 1 of a cohort of 5" in found["assumption"]
    assert "enrols" in found["evidence"]
    (party,) = (each for each in report["setting"]["parties"] if each["who"] == "one hostile client")
    assert "ruin a round" in party["left"]
    assert report["verdict"]["guarantee"]
    assert "all that the server sees" in report["verdict"]["meaning"]


def test_masks_over_local_noise_change_no_epsilon_and_are_told(tmp_path: Path) -> None:
    masked = privacy_report(a_run(tmp_path / "masked", MASKED))
    plain = privacy_report(a_run(tmp_path / "plain", changed(MASKED, secure_aggregation={"enabled": False})))
    assert masked["epsilon"] == plain["epsilon"]
    assert (masked["accountant"]["published_epsilon"], plain["masks"]) == (None, None)
    assert (masked["masks"]["least_honest"], masked["masks"]["share_variance"]) == (2, 0)
    assert "the sum of a cohort's noised vectors" in json.dumps(masked["setting"])


@pytest.mark.parametrize(
    ("failure", "why"),
    [("ruined", "nothing was unmasked"), ("too_few", "no sum was used"), ("implausible", "was dropped")],
)
def test_a_round_that_was_paid_for_and_gave_nothing_is_named_and_stays_charged(
    tmp_path: Path, failure: str, why: str
) -> None:
    run = a_run(tmp_path / "run", DISTRIBUTED)
    before = privacy_report(run)
    _failed(run, 2, **{failure: 1, "timeout": 1})
    found = privacy_report(run)
    assert found["epsilon"] == before["epsilon"]
    (line,) = found["masks"]["rounds_without_sum"]
    assert (line["round"], line["charges"]) == (2, 3)
    assert why in line["why"]
    kinds = {line["what"]: line["entries"] for line in found["composition"]["entries"]}
    assert kinds == {"update, released": 3, "update, paid for, and nothing came of it": 1}
    assert (before["composition"]["counts"]["dropped"], found["composition"]["counts"]["dropped"]) == (0, 1)


def test_a_failure_that_left_a_sum_makes_no_round_barren(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", DISTRIBUTED)
    _failed(run, 9, lied=1)
    assert without_sum(read_evidence(run)) == {}


def test_a_round_that_was_cut_off_is_charged_to_all_who_were_asked(tmp_path: Path) -> None:
    plan = the_plan(DISTRIBUTED)
    owed = an_event(plan, 2, [0, 1, 2, 3], released="interrupted: round 2 was asked")
    found = privacy_report(a_run(tmp_path / "run", DISTRIBUTED, events=[an_event(plan, 1, [0, 1, 2]), owed]))
    assert [line["what"] for line in found["composition"]["entries"]] == [
        "update, released",
        "update, charged when its round was interrupted",
    ]
    assert found["sampling"]["most_participations"] == 2


def test_a_round_under_way_for_which_a_client_paid_is_no_contradiction_and_said_to_be(tmp_path: Path) -> None:
    plan = the_plan(DISTRIBUTED)
    run = a_run(tmp_path / "run", DISTRIBUTED, events=[an_event(plan, 1, [0, 1, 2])])
    a_client_entry(run, 1, an_event(plan, 2, [1]))
    (run / "pending.json").write_text(json.dumps({"round": 2, "token": f"{2:032x}", "cohort": [1, 2, 3]}))
    found = privacy_report(run)
    assert "The server has no reply that is not charged" in found["verdict"]["not_met"]
    assert "but for round 2, which is under way" in json.dumps(found["accountant"]["assumptions"])
    # Paid under another attempt, nothing explains it.
    a_client_entry(run, 1, an_event(plan, 2, [1], token="f" * 32))
    with pytest.raises(VerificationError, match="A client's ledger holds"):
        privacy_report(run)


def test_a_client_that_spent_more_than_the_server_says_stops_the_report(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", DISTRIBUTED)
    a_client_entry(run, 1, an_event(the_plan(DISTRIBUTED), 9, [1]))
    with pytest.raises(VerificationError, match="A client's ledger holds"):
        privacy_report(run)


def test_a_client_under_less_noise_than_the_server_says_stops_the_report(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", DISTRIBUTED)
    event = read_events(run / "ledger.jsonl")[0]
    (run / "clients" / "0" / "ledger.jsonl").unlink()
    a_client_entry(run, 0, {**event, "variance": event["variance"] // 4})
    with pytest.raises(VerificationError, match="disagree on the noise"):
        privacy_report(run)


@pytest.mark.parametrize(
    "more",
    [
        {"variance": 0},
        {"variance": -4},
        {"variance": 1.5},
        {"norm_squared": 0},
        {"norm_squared": "9"},
        {"size": True},
        {"failure": -0.1},
        {"failure": math.nan},
        {"total_variation": 1.0},
    ],
    ids=str,
)
def test_an_entry_of_distributed_noise_that_cannot_be_stops_the_report(tmp_path: Path, more: Json) -> None:
    run = a_run(tmp_path / "run", DISTRIBUTED, rounds=((0,), (1,)))
    _append(run, {**an_event(the_plan(DISTRIBUTED), 3, [2]), **more})
    with pytest.raises(VerificationError, match="of distributed noise that cannot be"):
        privacy_report(run)


def test_a_run_of_a_trusted_server_before_it_makes_all_of_it_one(tmp_path: Path) -> None:
    before = a_run(tmp_path / "before", CENTRAL)
    found = privacy_report(a_run(tmp_path / "run", DISTRIBUTED), also=[before])
    assert found["composition"]["mode"] == "central"
    assert found["composition"]["spent"]["epsilon"] > found["epsilon"]["value"]


@pytest.mark.parametrize(("engine", "said"), [("flower", False), ("reference", True), ("cohort", True)])
def test_a_simulation_that_added_up_in_clear_does_not_claim_masks(tmp_path: Path, engine: str, said: bool) -> None:
    found = privacy_report(a_run(tmp_path / "run", DISTRIBUTED, result={"engine": engine}))
    assert (UNMASKED in found["limitations"]) is said
