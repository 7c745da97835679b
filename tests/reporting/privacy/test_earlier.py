"""What came before a run counts: every earlier run once, none that is damaged, and all of it in the verdict."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import ConfigError, FedrecError, VerificationError
from fedrec.privacy.gaussian import best_guess, epsilon_without_amplification
from fedrec.privacy.spends import GaussianSpend
from fedrec.reporting.privacy.earlier import runs_before
from fedrec.reporting.privacy.markdown import privacy_markdown
from fedrec.reporting.privacy.page import privacy_html
from fedrec.reporting.privacy.report import privacy_report, schema
from tests.reporting.privacy.runs import CENTRAL, HUBS, PLAIN, SEGMENTS, a_run, changed, the_plan

pytestmark = pytest.mark.slow

Json = dict[str, Any]


def naming(*earlier: Path, epsilon: float | None = None) -> Json:
    """A scenario whose settings name earlier runs."""
    budget: Json = {"earlier_runs": [str(path) for path in earlier]}
    return changed(CENTRAL, budget=budget if epsilon is None else {**budget, "epsilon": epsilon})


def names(report: Json) -> list[str]:
    return [each["run"] for each in report["composition"]["earlier_runs"]]


# The figures of the verdict are those of all runs together


def test_the_odds_of_a_guess_count_the_earlier_runs_too(tmp_path: Path) -> None:
    first, second = a_run(tmp_path / "first"), a_run(tmp_path / "second", rounds=((0,), (1,), (2,), (0,)))
    report = privacy_report(second, also=[first])
    # Four releases of noise 4 in the first run, two in the second.
    mu = (6 / 16) ** 0.5
    assert report["composition"]["spent"]["gdp_mu"] == pytest.approx(mu, abs=1.01e-4)
    assert report["composition"]["spent"]["zcdp_rho"] == pytest.approx(6 / 32, abs=1.01e-4)
    said = float(re.findall(r"right at most ([\d.]+) times", report["verdict"]["meaning"])[0])
    assert 0 <= said - 100 * best_guess(99.0, delta=1e-6, mu=mu) < 0.11


def test_the_curve_of_what_was_spent_counts_the_earlier_runs_too(tmp_path: Path) -> None:
    first, second = a_run(tmp_path / "first"), a_run(tmp_path / "second", rounds=((0,), (1,), (2,), (0,)))
    spending = ((GaussianSpend(noise_multiplier=4.0), 6),)
    for point in privacy_report(second, also=[first])["composition"]["spent"]["curve"]:
        true = epsilon_without_amplification(spending, delta=point["delta"])
        assert true <= point["epsilon"] <= true + 1.01e-4


def test_sampled_coins_in_any_run_leave_no_gaussian_to_describe_them_all(tmp_path: Path) -> None:
    whole = changed(SEGMENTS, privacy={"sampling_rate": 1.0, "noise_multiplier": 6.0})
    first, second = a_run(tmp_path / "first", SEGMENTS, rounds=((0,),)), a_run(tmp_path / "second", whole)
    assert privacy_report(second)["composition"]["spent"]["gdp_mu"] is not None
    assert privacy_report(second, also=[first])["composition"]["spent"]["gdp_mu"] is None


# Which runs count


def test_the_runs_that_an_earlier_run_names_are_counted_too(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", rounds=((0,),))
    second = a_run(tmp_path / "second", naming(first), rounds=((0,), (1,)))
    third = a_run(tmp_path / "third", naming(second))
    assert sorted(names(privacy_report(third))) == ["first", "second"]
    assert sorted(names(privacy_report(third, also=[first]))) == ["first", "second"]
    assert len(runs_before(the_plan(), [second], own=tmp_path / "new")) == 2


def test_runs_that_name_each_other_in_a_circle_are_counted_once(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", naming(tmp_path / "second"), rounds=((0,),))
    second = a_run(tmp_path / "second", naming(first))
    assert names(privacy_report(second)) == ["first"]
    assert names(privacy_report(first)) == ["second"]
    assert len(runs_before(the_plan(), [second], own=tmp_path / "new")) == 2


def test_a_run_cannot_be_named_as_earlier_than_itself(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="counted already"):
        runs_before(the_plan(), [run], own=run)


def test_a_run_reached_by_two_paths_is_counted_once(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", rounds=((0,),))
    (tmp_path / "link").symlink_to(first)
    assert len(runs_before(the_plan(), [first, tmp_path / "link"], own=tmp_path / "new")) == 1


@pytest.mark.parametrize(
    ("table", "says"),
    [(PLAIN, "no epsilon bounds the two"), (SEGMENTS, "protects a SEGMENT, this run a USER")],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_run_that_cannot_be_added_is_refused_however_it_is_reached(
    tmp_path: Path, table: Json, says: str, hidden: bool
) -> None:
    first = a_run(tmp_path / "first", table)
    second = a_run(tmp_path / "second", naming(first)) if hidden else first
    with pytest.raises(ConfigError, match=says) as caught:
        runs_before(the_plan(), [second], own=tmp_path / "new")
    assert "\n" not in str(caught.value)


def test_a_run_without_noise_can_name_no_earlier_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no epsilon bounds the two"):
        runs_before(None, [a_run(tmp_path / "first")], own=tmp_path / "new")


def empty_the_ledger(run: Path) -> None:
    (run / "ledger.jsonl").write_bytes(b"")


def cut_the_ledger(run: Path) -> None:
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:1]))


@pytest.mark.parametrize("damage", [empty_the_ledger, cut_the_ledger, lambda run: (run / "ledger.jsonl").unlink()])
def test_an_earlier_ledger_that_was_emptied_is_refused(tmp_path: Path, damage: Any) -> None:
    run = a_run(tmp_path / "run")
    damage(run)
    with pytest.raises(VerificationError):
        runs_before(the_plan(), [run], own=tmp_path / "new")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/at/all"])
def test_an_earlier_run_that_is_not_there_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(FedrecError, match="is not a run folder"):
        runs_before(the_plan(), [tmp_path / missing], own=tmp_path / "new")


# Over the budget


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A run within its budget on its own, and over it with the run before."""
    place = tmp_path_factory.mktemp("over")
    first = a_run(place / "first", rounds=((0,), (0,), (0,), (0,)))
    alone = privacy_report(first)["epsilon"]["value"]
    report = privacy_report(a_run(place / "second", naming(first, epsilon=alone + 0.01)))
    assert report["epsilon"]["value"] < alone + 0.01
    return report


def test_spending_over_the_budget_is_alarmed_and_not_called_private(over: Json) -> None:
    verdict, composition = over["verdict"], over["composition"]
    assert (verdict["state"], verdict["guarantee"]) == ("over budget", False)
    assert [alarm["heading"] for alarm in verdict["alarms"]] == ["OVER ITS BUDGET"]
    assert verdict["text"].startswith("OVER ITS BUDGET")
    spent, budget = composition["spent"]["epsilon"], composition["budget"]
    assert budget["over_by"] == pytest.approx(spent - budget["epsilon"], abs=2e-4)
    assert over["verdict"]["meaning"] is not None
    import jsonschema

    jsonschema.Draft202012Validator(schema()).validate(json.loads(json.dumps(over)))


def test_page_and_markdown_say_by_how_much_the_budget_was_passed(over: Json) -> None:
    for text in (privacy_html(over, digest="0" * 64), privacy_markdown(over, digest="0" * 64)):
        assert "OVER ITS BUDGET" in text
        assert "NOTHING:" in text
        assert "Private at" not in text


def test_spending_exactly_the_budget_is_within_it(tmp_path: Path) -> None:
    spending = ((GaussianSpend(noise_multiplier=4.0), 4),)
    exact = epsilon_without_amplification(spending, delta=1e-6)
    run = a_run(tmp_path / "run", changed(CENTRAL, budget={"epsilon": exact}))
    report = privacy_report(run)
    assert (report["verdict"]["state"], report["composition"]["budget"]["over_by"]) == ("private", 0.0)


def test_an_alarm_that_ends_the_guarantee_outweighs_the_budget(tmp_path: Path) -> None:
    seeded = changed(CENTRAL, privacy={"noise": "seeded"}, budget={"epsilon": 0.5})
    verdict = privacy_report(a_run(tmp_path / "run", seeded))["verdict"]
    assert (verdict["state"], verdict["meaning"]) == ("not a guarantee", None)
    assert "OVER ITS BUDGET" in [alarm["heading"] for alarm in verdict["alarms"]]


def test_hubs_are_added_like_devices(tmp_path: Path) -> None:
    first, second = a_run(tmp_path / "first", HUBS, rounds=((0,),)), a_run(tmp_path / "second", HUBS)
    assert names(privacy_report(second, also=[first])) == ["first"]
