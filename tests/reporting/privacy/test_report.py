"""The budget report: all that it owes, no epsilon below what was spent, nothing where records disagree."""

import functools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import ConfigError, DataError, FedrecError, VerificationError
from fedrec.privacy.accounting import composed, epsilon_of, spending_by_client
from fedrec.privacy.ledger import ledger_head, read_events
from fedrec.privacy.seal import Seal
from fedrec.privacy.spends import GaussianSpend
from fedrec.release import signing_key
from fedrec.reporting.document import Bullets, Pairs, Table, Text
from fedrec.reporting.model_card import model_card
from fedrec.reporting.privacy.facts import Stated
from fedrec.reporting.privacy.markdown import plain, privacy_markdown
from fedrec.reporting.privacy.page import privacy_html
from fedrec.reporting.privacy.report import privacy_report, report_text, schema, write_privacy_report
from fedrec.reporting.privacy.sections import sections
from fedrec.reporting.privacy.spending import by_round, largest
from tests.reporting.privacy.runs import (
    CENTRAL,
    DISTRIBUTED,
    HUBS,
    MASKED,
    PLAIN,
    ROUNDS,
    SEGMENTS,
    a_client_entry,
    a_release,
    a_result,
    a_run,
    an_event,
    changed,
    the_plan,
)
from tests.reporting.test_run_report import HOSTILE, LOADING, Page

pytestmark = pytest.mark.slow

Json = dict[str, Any]
SEEDED = changed(CENTRAL, privacy={"noise": "seeded"})
RICH = changed(
    CENTRAL,
    model={"prior": "released"},
    released_metrics={"noise_multiplier": 6.0},
    budget={"epsilon": 6.0, "per_day": 2},
)


def rich_events() -> list[Json]:
    """A popularity release, a wasted attempt, and rounds with their metrics."""
    plan = the_plan(RICH)
    popularity, metrics = GaussianSpend(noise_multiplier=4.0), GaussianSpend(noise_multiplier=6.0)
    events = [an_event(plan, 0, range(5), kind="popularity", spend=popularity)]
    wasted = {"client": 2, "attempt": 1, "released": "nothing: interrupted"}
    for number, cohort in enumerate(ROUNDS, start=1):
        if number == 3:
            events.append(an_event(plan, number, [2], **wasted))
        events.append(an_event(plan, number, cohort))
        events.append(an_event(plan, number, cohort, kind="metrics", spend=metrics))
    return events


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def reports(place: Path) -> dict[str, Json]:
    """A report of each kind of run."""
    runs = {
        "central": a_run(place / "central"),
        "hubs": a_run(place / "hubs", HUBS),
        "segments": a_run(place / "segments", SEGMENTS),
        "seeded": a_run(place / "seeded", SEEDED),
        "plain": a_run(place / "plain", PLAIN),
        "rich": a_run(place / "rich", RICH, events=rich_events()),
        "distributed": a_run(place / "distributed", DISTRIBUTED),
        "masked": a_run(place / "masked", MASKED),
    }
    return {name: privacy_report(run) for name, run in runs.items()}


@pytest.fixture(scope="module")
def page_of(reports: dict[str, Json]) -> Callable[[str], str]:
    """The page of a kind of run, drawn once."""
    return functools.cache(lambda kind: privacy_html(reports[kind], digest="0" * 64))


KINDS = ("central", "hubs", "segments", "seeded", "plain", "rich", "distributed", "masked")
NOISED = tuple(kind for kind in KINDS if kind != "plain")


def words(page: str) -> str:
    return " ".join(Page(page).text.split())


def state_of(report: Json, assumption: str) -> str:
    found = [each for each in report["accountant"]["assumptions"] if assumption in each["assumption"]]
    assert len(found) == 1, assumption
    return str(found[0]["state"])


# What it says


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_obeys_the_schema_that_is_shipped(reports: dict[str, Json], kind: str) -> None:
    checker = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    assert list(checker.iter_errors(json.loads(report_text(reports[kind])))) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda report: report.pop("epsilon"),
        lambda report: report["epsilon"].update(value=-1),
        lambda report: report.update(epsilon=None),
        lambda report: report["verdict"].update(guarantee=False),
        lambda report: report["unit"].update(name="ITEM"),
        lambda report: report["setting"].update(mode="none"),
        lambda report: report.update(added=1),
        lambda report: report["utility"]["groups"][0].update(people=19),
    ],
)
def test_the_schema_refuses_a_report_that_lacks_or_contradicts_something(
    reports: dict[str, Json], damage: Callable[[Json], Any]
) -> None:
    report = json.loads(report_text(reports["central"]))
    damage(report)
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(report))


@pytest.mark.parametrize("kind", NOISED)
def test_epsilon_is_rounded_up_and_is_that_of_whoever_took_part_most(
    reports: dict[str, Json], place: Path, kind: str
) -> None:
    report = reports[kind]
    worst = max(
        epsilon_of(spent, delta=1e-6)
        for spent in spending_by_client(read_events(place / kind / "ledger.jsonl")).values()
    )
    assert worst <= report["epsilon"]["value"] <= worst + 1.01e-4
    assert report["epsilon"]["value"] == report["composition"]["spent"]["epsilon"] == report["accountant"]["epsilon"]
    assert report["epsilon"]["replace_one"] > report["epsilon"]["value"]
    shown = float(re.findall(r"epsilon (\d+\.\d\d)", report["verdict"]["text"])[0])
    assert worst <= shown < worst + 0.0101


@pytest.mark.parametrize("kind", NOISED)
def test_epsilon_over_rounds_ends_at_the_headline_and_the_curve_passes_through_it(
    reports: dict[str, Json], kind: str
) -> None:
    report = reports[kind]
    over = [line["epsilon"] for line in report["rounds"]]
    assert over == sorted(over)
    assert over[-1] == report["epsilon"]["value"]
    curve = {point["delta"]: point["epsilon"] for point in report["epsilon"]["curve"]}
    assert curve[report["epsilon"]["delta"]] == report["epsilon"]["value"]
    assert list(curve.values()) == sorted(curve.values(), reverse=True)


def test_rho_and_mu_are_those_of_the_gaussian_or_absent_where_units_are_sampled(reports: dict[str, Json]) -> None:
    epsilon = reports["central"]["epsilon"]
    assert epsilon["gdp_mu"] == pytest.approx(math.sqrt(4) / 4, abs=1e-4)
    assert epsilon["zcdp_rho"] == pytest.approx(epsilon["gdp_mu"] ** 2 / 2, abs=2e-4)
    sampled = reports["segments"]["epsilon"]
    assert (sampled["gdp_mu"], sampled["zcdp_rho"]) == (None, None)
    assert "sampled by coins" in sampled["gaussian_note"]


def test_every_kind_of_entry_is_counted_apart(reports: dict[str, Json]) -> None:
    entries = {line["what"]: line for line in reports["rich"]["composition"]["entries"]}
    assert {what: (line["entries"], line["charges"]) for what, line in entries.items()} == {
        "popularity, released": (1, 5),
        "update, interrupted attempt": (1, 1),
        "update, released": (4, 12),
        "metrics, released": (4, 12),
    }
    assert entries["metrics, released"]["noise_multiplier"] == 6.0
    assert reports["rich"]["composition"]["counts"] == {
        "popularity": 1,
        "metrics": 4,
        "interrupted": 1,
        "dropped": 0,
    }
    # Client 2 took part four times and once in vain; popularity and metrics are no participations.
    assert reports["rich"]["sampling"]["most_participations"] == 5


def test_participations_are_counted_for_all_clients_and_those_that_never_took_part(reports: dict[str, Json]) -> None:
    bars = {bar["participations"]: bar["clients"] for bar in reports["central"]["participations"]["histogram"]}
    assert bars == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1}


def test_what_is_left_is_rounded_down_and_holds_against_a_budget_or_the_cap(reports: dict[str, Json]) -> None:
    rich, central = reports["rich"]["composition"], reports["central"]["composition"]
    assert rich["budget"]["epsilon"] == 6.0
    assert rich["remaining"]["epsilon"] <= 6.0 - rich["spent"]["epsilon"] + 1e-4
    assert "k = 4" in central["budget"]["what"]
    assert (central["remaining"]["epsilon"], central["remaining"]["participations"]) == (0.0, 0)
    assert any("refuses what would bring" in rule for rule in rich["stop_rules"])


@pytest.mark.parametrize("kind", NOISED)
def test_the_mechanism_is_told_as_the_ledger_has_it(reports: dict[str, Json], kind: str) -> None:
    found = reports[kind]["mechanism"]
    assert found["noise_std"] == found["clip_norm"] * found["noise_multiplier"]
    real = found["noise_std_realised"]
    # Shares of noise have whole variances, and are rounded up to them.
    assert real["least"] == real["most"] == pytest.approx(found["noise_std"], rel=1e-6)
    assert real["least"] >= found["noise_std"]
    assert ("server" in found["noised_by"]) == (kind in ("central", "seeded", "rich"))


def test_identity_holds_the_hashes_and_what_people_stated(place: Path, reports: dict[str, Json]) -> None:
    stated = Stated(curator="The board", purpose="film tips", contact="dpo@example.org")
    facts = privacy_report(place / "central", stated=stated)["identity"]
    assert (facts["curator"], facts["purpose"], facts["contact"]) == ("The board", "film tips", "dpo@example.org")
    assert len(facts["adapter_sha256"]) == 64 and facts["base_model"] == "b" * 64
    assert facts["dates"]["first"] == "2026-09-21T14:14:20Z"
    assert reports["central"]["identity"]["curator"] == "not stated"


# Its verdict


def test_a_private_run_leads_with_its_epsilon_and_carries_no_warning(reports: dict[str, Json]) -> None:
    verdict = reports["central"]["verdict"]
    assert (verdict["state"], verdict["guarantee"], verdict["alarms"]) == ("private", True, [])
    assert verdict["text"].startswith("Private at epsilon ")
    assert "(reasonable), delta 1e-6, per USER" in verdict["text"]
    assert verdict["not_met"] == ["The noise is exactly Gaussian"]


def test_a_seeded_run_says_in_large_letters_that_it_is_no_guarantee(
    reports: dict[str, Json], page_of: Callable[[str], str]
) -> None:
    report = reports["seeded"]
    assert report["verdict"]["state"] == "not a guarantee"
    assert report["verdict"]["meaning"] is None
    page = page_of("seeded")
    assert "<strong>NOT A DP GUARANTEE</strong>" in page
    assert privacy_markdown(report, digest="0" * 64).count("NOT A DP GUARANTEE") == 2
    assert state_of(report, "noise is secret") == "not met"


def test_one_seeded_entry_of_one_client_is_no_guarantee(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", HUBS)
    plan = the_plan(HUBS)
    with_more = [*read_events(run / "ledger.jsonl"), an_event(plan, 5, [5])]
    again = a_run(tmp_path / "again", HUBS, events=with_more)
    (again / "clients" / "5" / "ledger.jsonl").unlink()
    a_client_entry(again, 5, with_more[-1], guarantee=False)
    assert privacy_report(again)["verdict"]["state"] == "not a guarantee"


def test_a_run_without_noise_says_not_private_and_has_no_epsilon(
    reports: dict[str, Json], page_of: Callable[[str], str]
) -> None:
    report = reports["plain"]
    assert report["epsilon"] is None
    assert report["verdict"]["state"] == "not private"
    text = words(page_of("plain"))
    assert "NOT PRIVATE" in text
    assert not re.search(r"epsilon \d", text.lower())


def test_a_slice_of_a_person_is_not_graded_and_never_called_a_person(
    reports: dict[str, Json], page_of: Callable[[str], str]
) -> None:
    report = reports["segments"]
    assert "per SEGMENT (30 days" in report["verdict"]["text"]
    text = words(page_of("segments"))
    assert "(reasonable)" not in text and "(strong)" not in text
    assert "per USER" not in text


def test_a_cap_that_was_passed_takes_the_guarantee_away(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", changed(CENTRAL, privacy={"participations": 3}))
    report = privacy_report(run)
    assert report["verdict"]["state"] == "not a guarantee"
    assert state_of(report, "more than k = 3") == "not met"


def test_a_simulation_of_segments_says_that_its_hold_out_looks_at_all_intervals(reports: dict[str, Json]) -> None:
    report = reports["segments"]
    assert state_of(report, "What a simulation holds out") == "not met"
    assert any("holds out" in each for each in report["verdict"]["not_met"])
    assert state_of(report, "One unit of the training data moves a noised sum by at most C") == "by construction"
    assert not any("holds out" in each for each in reports["central"]["verdict"]["not_met"])


def test_the_cap_is_said_to_hold_within_one_run(reports: dict[str, Json]) -> None:
    assert state_of(reports["central"], "times within this run") == "met"


AUDIT: Json = {
    "reported_epsilon": 2.0,
    "lower_bound": 0.9,
    "gaussian_fit_bound": 1.3,
    "passed": True,
    "mode": "central",
    "fault": None,
    "statement": "FAILED: the noise has half its size.",
    "controls": {"half": {"what": "half the noise", "detector": "canaries", "caught": True}, "odd": 3},
    "checks": {"noise": {"what": "size of the noise", "found": 0.99, "passed": True}},
}


def test_an_audit_that_passed_is_shown_for_what_it_is(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "audit.json").write_text(json.dumps(AUDIT))
    report = privacy_report(run)
    assert report["verdict"]["guarantee"] is True
    text = words(privacy_html(report, digest="0" * 64))
    assert "an epsilon of at least 0.9 (in one run; 1.3 by a Gaussian fit), where 2 is accounted for" in text
    assert "passing is no proof" in text
    assert "half half the noise canaries caught odd – – MISSED" in text
    assert "size of the noise 0.99 sound" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"passed": False}, "half its size"),
        ({"passed": "yes", "statement": None}, "found more than its epsilon allows"),
        ({"fault": "noise_off"}, "a fault that was planted"),
        ({"mode": "local"}, "is of mode local, and this run is of mode central"),
    ],
)
def test_an_audit_that_does_not_hold_takes_the_guarantee_away(tmp_path: Path, change: Json, says: str) -> None:
    run = a_run(tmp_path / "run")
    (run / "audit.json").write_text(json.dumps({**AUDIT, **change}))
    verdict = privacy_report(run)["verdict"]
    assert verdict["state"] == "not a guarantee"
    assert verdict["alarms"][0]["heading"] == "THE AUDIT DOES NOT HOLD"
    assert says in verdict["alarms"][0]["text"]


def test_a_delta_that_is_too_large_is_not_met(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", changed(CENTRAL, privacy={"delta": 1e-5}))
    report = privacy_report(run)
    assert state_of(report, "delta is at most") == "not met"
    assert "THIS DELTA IS LARGER" in report["epsilon"]["delta_reason"]


# Earlier runs


def test_an_earlier_run_is_added_as_if_the_same_person_spent_most_in_both(
    reports: dict[str, Json], place: Path
) -> None:
    report = privacy_report(place / "central", also=[place / "rich"])
    once, other = reports["central"]["epsilon"]["value"], reports["rich"]["epsilon"]["value"]
    total = report["composition"]["spent"]["epsilon"]
    own = [GaussianSpend(noise_multiplier=4.0)] * (4 + 5 + 1)
    both = composed([*own, *[GaussianSpend(noise_multiplier=6.0)] * 4])
    assert total == pytest.approx(epsilon_of(both, delta=1e-6), abs=2e-4)
    assert max(once, other) < total < once + other
    assert report["epsilon"]["value"] == once
    assert report["rounds"][-1]["epsilon"] == total
    assert f"{math.ceil(total * 100) / 100:.2f}" in report["verdict"]["text"]
    assert "earlier ones that were named" in report["verdict"]["text"]


@pytest.mark.parametrize(("run", "earlier"), [("hubs", "central"), ("central", "hubs")])
def test_runs_of_two_modes_add_up_and_claim_what_the_weaker_gives(
    reports: dict[str, Json], place: Path, run: str, earlier: str
) -> None:
    report = privacy_report(place / run, also=[place / earlier])
    both = composed([GaussianSpend(noise_multiplier=4.0)] * 4 + [GaussianSpend(noise_multiplier=3.0)] * 4)
    assert report["composition"]["spent"]["epsilon"] == pytest.approx(epsilon_of(both, delta=1e-6), abs=2e-4)
    assert [each["mode"] for each in report["composition"]["earlier_runs"]] == [reports[earlier]["setting"]["mode"]]
    assert report["composition"]["holds"] == reports["central"]["composition"]["holds"]
    assert "Somebody who sees every release" in report["verdict"]["meaning"]
    assert "Somebody who sees all that the server sees" in reports["hubs"]["verdict"]["meaning"]
    assert "<dt>Trusted</dt><dd>the server</dd>" in privacy_html(report, digest="0" * 64)


def test_earlier_runs_of_the_settings_are_added_unasked(tmp_path: Path) -> None:
    before = a_run(tmp_path / "before", rounds=((0,), (1,)))
    run = a_run(tmp_path / "run", changed(CENTRAL, budget={"earlier_runs": [str(before)]}))
    assert [each["run"] for each in privacy_report(run)["composition"]["earlier_runs"]] == ["before"]
    # Named twice, it is counted once.
    assert len(privacy_report(run, also=[before])["composition"]["earlier_runs"]) == 1


@pytest.mark.parametrize(
    ("other", "error", "says"),
    [
        ("segments", ConfigError, "protects a SEGMENT, this run a USER"),
        ("plain", ConfigError, "no epsilon bounds the two"),
        ("central", ConfigError, "counted already"),
    ],
)
def test_runs_that_cannot_be_added_are_refused(
    reports: dict[str, Json], place: Path, other: str, error: type[FedrecError], says: str
) -> None:
    assert reports
    with pytest.raises(error, match=says):
        privacy_report(place / "central", also=[place / other])


def test_an_earlier_run_with_seeded_noise_takes_the_guarantee_away(reports: dict[str, Json], place: Path) -> None:
    assert reports
    verdict = privacy_report(place / "central", also=[place / "seeded"])["verdict"]
    assert verdict["state"] == "not a guarantee"
    assert "The earlier run seeded" in verdict["alarms"][0]["text"]


# Where it stops


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def another_ledger(run: Path) -> None:
    other = a_run(run.with_name("another"), rounds=((0,), (1,), (2,), (3,)))
    (run / "ledger.jsonl").write_bytes((other / "ledger.jsonl").read_bytes())
    (run / "ledger.seal").unlink()
    seal(run)


def seal(run: Path) -> None:
    """Sign the head that the ledger has now."""
    Seal(run / "ledger.seal", signing_key(run / "signing.key"))(ledger_head(run / "ledger.jsonl"))


def weaker_client(run: Path) -> None:
    (run / "clients" / "4" / "ledger.jsonl").unlink()
    a_client_entry(run, 4, {**an_event(the_plan(), 3, [4]), "noise_multiplier": 0.5})


# Four releases at noise 4, as the ledger of `a_run` has them.
EXACT = epsilon_of(((GaussianSpend(noise_multiplier=4.0), 4),), delta=1e-6)
STATED = {"unit": "USER", "delta": 1e-6, "guarantee": True}


def release_that_states(run: Path, epsilon: float) -> None:
    release = next(path for path in (run / "releases").iterdir() if not path.name.startswith("."))
    manifest = json.loads((release / "manifest.json").read_text())
    shutil.rmtree(release)
    a_release(run, manifest["lineage"]["ledger_head"], {**STATED, "epsilon": epsilon}, number=4)


def second_release_of_a_round(run: Path) -> None:
    manifest = json.loads(next((run / "releases").glob("*/manifest.json")).read_text())
    a_release(run, manifest["lineage"]["ledger_head"], manifest["privacy"], number=4, adapter=b"other")


def release_of_another_unit(run: Path) -> None:
    release = next(path for path in (run / "releases").iterdir() if not path.name.startswith("."))
    head = json.loads((release / "manifest.json").read_text())["lineage"]["ledger_head"]
    a_release(run, head, {**STATED, "epsilon": 99.0, "unit": "SEGMENT"}, number=3, adapter=b"other")


def release_before_it_was_paid_for(run: Path) -> None:
    head = json.loads((run / "rounds.jsonl").read_text().splitlines()[1])["ledger_head"]
    a_release(run, head, {**STATED, "epsilon": 99.0}, number=3, adapter=b"other")


def release_of_nothing(run: Path) -> None:
    a_release(run, "f" * 64, {**STATED, "epsilon": 99.0}, number=4, adapter=b"other")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an edited ledger": (
        lambda run: rewrite(
            run / "ledger.jsonl", lambda text: text.replace('"noise_multiplier": 4.0', '"noise_multiplier": 9.0')
        ),
        "does not continue the chain",
    ),
    "a ledger without its end": (lambda run: drop_last_line(run / "ledger.jsonl"), "cut off"),
    "no ledger at all": (lambda run: (run / "ledger.jsonl").unlink(), "cut off"),
    "another run's ledger": (another_ledger, "cut off or exchanged"),
    "a seal of another key": (
        lambda run: rewrite(run / "ledger.seal", lambda text: text.replace('"signature": "', '"signature": "00')),
        "seal is damaged",
    ),
    "a client that spent more": (lambda run: a_client_entry(run, 4, an_event(the_plan(), 4, [4])), "server's 1 for it"),
    "a client under weaker noise": (weaker_client, "disagree on the noise"),
    "a client that nobody charged": (lambda run: a_client_entry(run, 5, an_event(the_plan(), 4, [5])), "server's 0"),
    "a client's edited ledger": (
        lambda run: rewrite(
            run / "clients" / "0" / "ledger.jsonl", lambda text: text.replace('"round": 1', '"round": 2')
        ),
        "does not continue the chain",
    ),
    "a changed release": (
        lambda run: next((run / "releases").glob("0*/adapter/*")).write_bytes(b"better"),
        "missing or changed",
    ),
    "a release that paid nothing": (release_of_nothing, "lacks the entry ffff"),
    "a release of another unit": (release_of_another_unit, "states its epsilon per SEGMENT"),
    "a release before it was paid for": (release_before_it_was_paid_for, "Round 3 of .* released before"),
    "a release that states too little": (lambda run: release_that_states(run, 0.1), "states epsilon 0.1"),
    "a release that states a little too little": (lambda run: release_that_states(run, EXACT - 2e-4), "states epsilon"),
    "two releases of one round": (second_release_of_a_round, "two different releases of round 4"),
    "no seal": (lambda run: (run / "ledger.seal").unlink(), "ledger.seal is missing"),
    "rounds of brackets": (lambda run: (run / "rounds.jsonl").write_text("[" * 200_000), "rounds.jsonl is damaged"),
    "a result of brackets": (lambda run: (run / "result.json").write_text("[" * 200_000), "result.json is damaged"),
    "a result that states too little": (
        lambda run: rewrite(run / "result.json", lambda text: re.sub(r'"epsilon": [\d.]+', '"epsilon": 0.5', text)),
        "result.json states epsilon 0.5",
    ),
    "damaged rounds": (lambda run: rewrite(run / "rounds.jsonl", lambda text: text[:-9]), "rounds.jsonl is damaged"),
    "a damaged audit": (lambda run: (run / "audit.json").write_text("[]x"), "audit.json is damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_record_that_contradicts_another_stops_the_report_and_nothing_is_written(tmp_path: Path, fault: str) -> None:
    run = a_run(tmp_path / "run")
    damage, says = FAULTS[fault]
    damage(run)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(VerificationError, match=says) as caught:
        write_privacy_report(run)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_result_is_verified_before_it_is_written(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    whole = privacy_report(run)
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    again = privacy_report(run, result=result)
    again["identity"]["made"] = whole["identity"]["made"]  # a second may have begun
    assert again == whole
    result["privacy"]["epsilon"] = 0.5
    with pytest.raises(VerificationError, match=r"result\.json states epsilon 0\.5"):
        write_privacy_report(run, result=result)
    assert not (run / "privacy.json").exists()


def test_two_accountants_that_disagree_stop_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.accountants import PRVAccountant

    run = a_run(tmp_path / "run")
    plan = the_plan(changed(CENTRAL, privacy={"noise_multiplier": 4.321}))
    run = a_run(
        tmp_path / "other", changed(CENTRAL, privacy={"noise_multiplier": 4.321}), events=[an_event(plan, 1, [0])]
    )
    from fedrec.privacy import accounting

    for cached in vars(accounting).values():
        getattr(cached, "cache_clear", lambda: None)()
    monkeypatch.setattr(PRVAccountant, "get_epsilon", lambda *_, **__: 0.1)
    with pytest.raises(VerificationError, match="disagree"):
        write_privacy_report(run)
    assert not (run / "privacy.json").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"unit": "SEGMENT"}, "another unit or mode"),
        ({"mode": "local"}, "another unit or mode"),
        ({"noise_multiplier": float("nan")}, "no number over 0"),
        ({"noise_multiplier": -1.0}, "no number over 0"),
        ({"sampling_rate": 1.5}, "sampling rate of 1.5"),
        ({"kind": "gift"}, "unknown kind gift"),
        ({"guarantee": "yes"}, "whether its noise was secret"),
    ],
)
def test_an_entry_that_cannot_be_accounted_stops_the_report(tmp_path: Path, more: Json, says: str) -> None:
    run = a_run(tmp_path / "run", rounds=((0,), (1,)))
    from fedrec.privacy.ledger import Ledger

    with Ledger(run / "ledger.jsonl", seal=Seal(run / "ledger.seal", signing_key(run / "signing.key"))) as ledger:
        ledger.append({**an_event(the_plan(), 3, [2]), **more})
    with pytest.raises(VerificationError, match=says):
        privacy_report(run)


def test_an_entry_of_an_unknown_mechanism_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", rounds=((0,), (1,)))
    from fedrec.privacy.ledger import Ledger

    with Ledger(run / "ledger.jsonl", seal=Seal(run / "ledger.seal", signing_key(run / "signing.key"))) as ledger:
        ledger.append({**an_event(the_plan(), 3, [2]), "mechanism": "laplace"})
    with pytest.raises(ConfigError, match="`laplace` event"):
        privacy_report(run)


def test_spending_in_a_run_that_is_set_to_no_privacy_stops_the_report(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", PLAIN)
    private = a_run(tmp_path / "private")
    (run / "ledger.jsonl").write_bytes((private / "ledger.jsonl").read_bytes())
    (run / "ledger.seal").write_bytes((private / "ledger.seal").read_bytes())
    (run / "signing.pub").write_bytes((private / "signing.pub").read_bytes())
    for folder in (run / "releases").glob("0*"):
        folder.rename(tmp_path / "gone")
    with pytest.raises(VerificationError, match="set to no privacy"):
        privacy_report(run)


def test_closing_a_round_early_is_an_assumption_on_when_devices_answer(tmp_path: Path) -> None:
    eager = a_run(tmp_path / "eager", changed(CENTRAL, federation={"over_selection": 0.5}))
    assert state_of(privacy_report(eager), "When a device answers") == "not met"
    usual = privacy_report(a_run(tmp_path / "usual"))["accountant"]["assumptions"]
    assert not any("When a device answers" in each["assumption"] for each in usual)


CORRELATED = changed(CENTRAL, correlated_noise={"bands": 2, "separation": 2}, federation={"server_optimizer": "fedavg"})


def test_rounds_that_share_noise_stop_the_report(tmp_path: Path) -> None:
    apart = a_run(tmp_path / "apart", CORRELATED, rounds=((0, 1), (2, 3), (0, 1)))
    report = privacy_report(apart)
    assert state_of(report, "twice within 2 rounds") == "met"
    assert "correlated over 2 rounds" in report["mechanism"]["name"]
    close = a_run(tmp_path / "close", CORRELATED, rounds=((0, 1), (1, 2), (3,)))
    with pytest.raises(VerificationError, match="rounds 1 and 2 under noise that is correlated over 2"):
        privacy_report(close)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda run: run, ConfigError, "is not a run folder"),
        (lambda run: run.mkdir(), ConfigError, "is not a run folder"),
        (lambda run: run.write_text("file"), ConfigError, "is not a run folder"),
        (lambda run: (run.mkdir(), (run / "config.toml").write_text("= 1")), ConfigError, "is damaged"),
        (
            lambda run: (run.mkdir(), (run / "config.toml").write_text("a = " + "[" * 200_000)),
            ConfigError,
            "is damaged",
        ),
        (lambda run: (run.mkdir(), (run / "config.toml").write_text("seed = 1")), ConfigError, "is damaged"),
    ],
)
def test_what_is_no_run_folder_is_named(
    tmp_path: Path, make: Callable[[Path], object], error: type[FedrecError], says: str
) -> None:
    make(tmp_path / "run")
    with pytest.raises(error, match=says) as caught:
        privacy_report(tmp_path / "run")
    assert caught.value.exit_code == 2


def test_a_run_that_has_done_nothing_yet_has_nothing_to_report(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.toml").write_bytes((run / "config.toml").read_bytes())
    with pytest.raises(DataError, match="nothing to report"):
        privacy_report(empty)


def test_a_run_killed_in_its_first_round_reports_what_it_paid_for(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", rounds=((0, 1),))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("config.toml", "ledger.jsonl", "ledger.seal", "signing.pub"):
        (killed / name).write_bytes((run / name).read_bytes())
    report = privacy_report(killed)
    assert report["epsilon"]["value"] > 0
    assert (report["identity"]["release"], report["utility"]) == (None, None)
    assert report["verification"]["ledger"]["seal"].startswith("signed")
    assert state_of(report, "No client has spent more") == "assumed"


def test_a_local_round_that_was_cut_off_is_under_way_until_all_of_it_is_charged(tmp_path: Path) -> None:
    """The charge of one client's lost attempt pays for nobody's reply."""
    plan = the_plan(HUBS)
    wasted = an_event(plan, 2, [3], client=3, attempt=1, released="nothing: interrupted")
    owed = an_event(plan, 2, [1, 2, 3], released="interrupted: round 2 was asked")
    states = []
    for name, more in (("owing", [wasted]), ("charged", [wasted, owed])):
        run = a_run(tmp_path / name, HUBS, events=[an_event(plan, 1, [0, 1, 2]), *more])
        (run / "pending.json").write_text(json.dumps({"round": 2, "token": f"{2:032x}", "cohort": [1, 2, 3]}))
        report = privacy_report(run)
        seen = "all that the server sees" in report["verdict"]["meaning"]
        states.append((state_of(report, "no reply that is not charged"), seen))
    assert states == [("not met", False), ("met", True)]


def test_reading_changes_no_file_and_an_own_key_tells_forgery(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "damage but not forgery" in privacy_report(run)["verification"]["key"]
    signing_key(tmp_path / "mine.key")
    with pytest.raises(VerificationError, match="not of this key"):
        privacy_report(run, key=tmp_path / "mine.pub")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_key_file_that_holds_no_key_is_bad_input(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (tmp_path / "my.pub").write_text("no key")
    for wrong in (tmp_path / "my.pub", tmp_path / "nowhere.pub", tmp_path):
        with pytest.raises(ConfigError, match="no Ed25519 public key"):
            privacy_report(run, key=wrong)


def test_a_statement_that_was_rounded_to_its_last_digit_is_accepted(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    release_that_states(run, round(EXACT, 4))
    assert privacy_report(run)["verdict"]["state"] == "private"


# How a reader recomputes it


@pytest.mark.parametrize(
    ("run", "earlier"),
    [("segments", []), ("rich", ["central"]), ("hubs", ["central"]), ("distributed", []), ("distributed", ["rich"])],
)
def test_the_script_in_the_report_recomputes_epsilon_without_fedrec(
    reports: dict[str, Json], place: Path, tmp_path: Path, run: str, earlier: list[str]
) -> None:
    report = reports[run] if not earlier else privacy_report(place / run, also=[place / name for name in earlier])
    script = tmp_path / "recompute_epsilon.py"
    script.write_text(report["recompute"]["script"])
    assert "fedrec" not in "".join(re.findall(r"^(?:import|from) .*$", script.read_text(), re.MULTILINE))
    python, *arguments = report["recompute"]["command"].split()
    assert (python, arguments[0]) == ("python", "recompute_epsilon.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script, *arguments[1:]], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(report["composition"]["spent"]["epsilon"], abs=1.01e-4)
    assert report["recompute"]["prints"] == f"{report['composition']['spent']['epsilon']:.4f}"


@pytest.mark.slow
def test_the_script_stops_at_a_ledger_that_was_edited(reports: dict[str, Json], tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    rewrite(run / "ledger.jsonl", lambda text: text.replace('"steps": 1', '"steps": 0', 1))
    script = tmp_path / "recompute_epsilon.py"
    script.write_text(reports["central"]["recompute"]["script"])
    done = subprocess.run([sys.executable, script, "1e-6", run / "ledger.jsonl"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not continue the chain" in done.stderr


SPENDS = st.sampled_from([GaussianSpend(noise_multiplier=noise) for noise in (2.0, 4.0, 8.0)])


@given(
    st.lists(st.lists(SPENDS, max_size=5).map(composed), min_size=1, max_size=6), st.sampled_from([1e-9, 1e-6, 1e-3])
)
def test_the_largest_spendings_hold_the_worst_one_at_every_delta(spendings: list[Any], delta: float) -> None:
    kept = largest(spendings)
    assert set(kept) <= set(spendings)
    worst = max(epsilon_of(spending, delta=delta) for spending in spendings)
    assert max(epsilon_of(spending, delta=delta) for spending in kept) == worst


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=4, unique=True), min_size=1, max_size=6))
def test_epsilon_over_rounds_is_that_of_the_ledger_up_to_each_round(cohorts: list[list[int]]) -> None:
    events = [an_event(the_plan(), number, cohort) for number, cohort in enumerate(cohorts, start=1)]
    for number, epsilon in by_round(events, delta=1e-6):
        spendings = spending_by_client(events[:number]).values()
        assert epsilon == max((epsilon_of(spending, delta=1e-6) for spending in spendings), default=0.0)


# Its forms


def test_the_three_forms_are_written_and_the_page_names_the_hash_of_the_json(tmp_path: Path) -> None:
    import hashlib

    run = a_run(tmp_path / "run")
    write_privacy_report(run)
    digest = hashlib.sha256((run / "privacy.json").read_bytes()).hexdigest()
    assert digest in (run / "privacy.html").read_text()
    assert digest in (run / "privacy.md").read_text()
    assert json.loads((run / "privacy.json").read_text())["format"] == "fedrec privacy report 1"


def texts(report: Json) -> Iterator[str]:
    for section in sections(report):
        yield section.title
        for block in section.blocks:
            match block:
                case Text(text=text):
                    yield text
                case Bullets(lines=lines):
                    yield from lines
                case Pairs(rows=rows) | Table(rows=rows):
                    yield from (cell for row in rows for cell in row)
                case _:
                    continue


@pytest.mark.parametrize("kind", KINDS)
def test_page_and_markdown_tell_the_same_facts(
    reports: dict[str, Json], page_of: Callable[[str], str], kind: str
) -> None:
    page = words(page_of(kind))
    markdown = privacy_markdown(reports[kind], digest="0" * 64)
    told = list(texts(reports[kind]))
    assert len(told) > 50
    for text in told:
        assert " ".join(text.split()) in page
        assert plain(text) in markdown


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_nests_loads_nothing_and_has_no_script(page_of: Callable[[str], str], kind: str) -> None:
    text = page_of(kind)
    page = Page(text)
    assert not page.named("script") and not page.named("link") and not page.named("img")
    for tag, attributes in page.tags:
        assert not (LOADING - {"href"}) & attributes.keys()
        assert tag != "a" or str(attributes["href"]).startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(meta for meta in page.named("meta") if meta.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in text and "@import" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_has_words_and_a_table_and_every_link_a_section(page_of: Callable[[str], str], kind: str) -> None:
    page = Page(page_of(kind))
    charts = page.named("svg")
    assert len(charts) == (0 if kind == "plain" else 3)
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    ids = {attributes.get("id") for attributes in page.named("section")}
    assert {str(link["href"])[1:] for link in page.named("a")} <= ids
    labelled = {attributes.get("aria-labelledby") for attributes in page.named("section")} - {None}
    assert labelled <= {attributes.get("id") for attributes in page.named("h2")}
    assert page.named("main") and page.named("header") and page.named("nav") and page.named("footer")


def test_hostile_texts_stay_texts_in_every_form(tmp_path: Path) -> None:
    result = a_result()
    result["dataset"] = dict.fromkeys(("name", "source", "licence"), HOSTILE)
    result["versions"] = {HOSTILE: HOSTILE}
    result["groups"] = {HOSTILE: {"users": 40, "ndcg@10": "no number"}}
    run = a_run(tmp_path / "run", {**CENTRAL, "name": HOSTILE}, result=result)
    (run / "audit.json").write_text(json.dumps({"passed": HOSTILE, "controls": {HOSTILE: 3}, "lower_bound": HOSTILE}))
    report = privacy_report(run, stated=Stated(curator=HOSTILE, purpose=HOSTILE, contact=HOSTILE))
    page = Page(privacy_html(report, digest="0" * 64))
    assert not page.named("script") and not page.named("img")
    assert page.text.count(HOSTILE) > 8
    markdown = privacy_markdown(report, digest="0" * 64)
    assert "<script" not in markdown and "<img" not in markdown


@pytest.mark.parametrize("odd", [[], 3, "text", {"groups": []}, {"dataset": 3, "versions": [], "baselines": {"x": 1}}])
def test_a_result_of_another_shape_is_left_out_or_refused_but_never_a_crash(tmp_path: Path, odd: Any) -> None:
    run = a_run(tmp_path / "run")
    whole = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**whole, **odd} if isinstance(odd, dict) else odd))
    try:
        assert privacy_report(run)["epsilon"]["value"] > 0
    except FedrecError as error:
        assert "\n" not in str(error)


def test_quality_stands_beside_the_twin_and_small_groups_are_left_out(
    reports: dict[str, Json], page_of: Callable[[str], str]
) -> None:
    found = reports["central"]["utility"]
    assert found["metrics"][0] == {
        "metric": "NDCG@10",
        "run": {"value": 0.3, "low": 0.25, "high": 0.35},
        "twin": {"value": 0.4, "low": 0.35, "high": 0.45},
    }
    assert [group["people"] for group in found["groups"]] == [60]
    page = page_of("central")
    assert "No epsilon covers these figures" in page
    assert ".012" not in page


def test_a_model_card_tells_mode_unit_epsilon_use_and_limits(reports: dict[str, Json], place: Path) -> None:
    assert reports
    facts = {"rounds": 4, "shared_parameters": 8, "adapter_norm": 1.0, "bytes_per_client_round": 64}
    source = {"source": "a world", "items": 9, "licence": "CC0"}
    for kind, says in (("central", "| Epsilon | 3"), ("seeded", "no guarantee; with secret noise 3")):
        privacy = json.loads((place / kind / "result.json").read_text())["privacy"]
        card = model_card({**facts, "privacy": privacy}, scenario="x", source=source)
        for words_ in (
            "| Mode | central.",
            "| Unit | USER:",
            "**Use it**",
            "**Do not use it**",
            "**Limits.**",
            "zero-out",
        ):
            assert words_ in card
        assert re.search(re.escape(says).replace("3", r"\d"), card)
    plain_card = model_card(
        {**facts, "privacy": json.loads((place / "plain" / "result.json").read_text())["privacy"]},
        scenario="x",
        source=source,
    )
    assert "NOT PRIVATE" in plain_card and "Epsilon" not in plain_card
