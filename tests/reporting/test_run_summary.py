"""What reports read from a run: figures, rivals and the verdict."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from fedrec.errors import DataError
from fedrec.reporting.demo_table import summary_table
from fedrec.reporting.figures import Interval, bytes_text, delta_text, epsilon_text, seconds_text, share
from fedrec.reporting.summary import RunSummary, methods
from fedrec.reporting.verdict import give_verdict, what_was_done


@pytest.mark.parametrize("privacy", [None, {}, {"mode": "secret"}])
def test_a_run_that_does_not_say_its_mode_is_refused(privacy: Any) -> None:
    with pytest.raises(DataError, match=r"privacy\.mode"):
        RunSummary.build({"name": "odd", "privacy": privacy})


def test_no_noise_is_never_a_guarantee_and_has_no_epsilon() -> None:
    run = RunSummary.build({"privacy": {"mode": "none", "guarantee": True, "epsilon": 1.0}})
    assert run.privacy.guarantee is False
    assert run.privacy.spend.epsilon is None


def test_a_run_without_a_name_takes_its_folders() -> None:
    assert RunSummary.build({"run": "runs/first", "privacy": {"mode": "none"}}).name == "first"


def test_rounds_are_put_in_order_and_gaps_stay_gaps() -> None:
    lines = [{"round": 2, "epsilon": 2.0, "validation": None}, {"round": 1, "validation": {"ndcg@10": {"value": 0.1}}}]
    run = RunSummary.build({"privacy": {"mode": "none"}}, lines)
    assert run.curve == ((1, 0.1),)
    assert run.spending == ((2, 2.0),)


def test_failures_add_up_over_rounds(private_run: RunSummary) -> None:
    assert private_run.failures == {"late": 10}


def test_a_baseline_that_all_runs_share_appears_once(private_run: RunSummary, plain_run: RunSummary) -> None:
    names = [method.name for method in methods([private_run, plain_run], split="validation")]
    assert names.count("EASE") == 1


def test_a_baseline_measured_differently_appears_per_run(private_run: RunSummary, make_result: Any) -> None:
    other = make_result("other")
    other["baselines"]["ease"]["validation"]["ndcg@10"]["value"] = 0.01
    names = [method.name for method in methods([private_run, RunSummary.build(other)], split="validation")]
    assert "EASE (central-eps8)" in names and "EASE (other)" in names


def test_the_twin_is_a_ceiling_and_not_the_best_baseline(private_run: RunSummary) -> None:
    verdict = give_verdict([private_run])
    assert verdict.rival is not None and verdict.rival.name == "Zero-shot + popularity"
    assert verdict.twin is not None and share(verdict.twin.value) == ".078"


def test_the_verdict_is_about_the_noised_run(plain_run: RunSummary, private_run: RunSummary) -> None:
    assert give_verdict([plain_run, private_run]).run is private_run
    assert give_verdict([plain_run]).run is plain_run


def test_the_verdict_uses_the_test_item_only_where_it_was_scored(make_result: Any) -> None:
    result = make_result()
    assert give_verdict([RunSummary.build(result)]).split == "test"
    del result["test"]
    assert give_verdict([RunSummary.build(result)]).split == "validation"


@pytest.mark.parametrize(
    ("ndcg", "place", "certainty"),
    [
        (0.0721, "item, slightly ahead of", "overlap: on this evidence"),
        (0.0689, "item, level with", "overlap: on this evidence"),
        (0.03, "item, behind", "do not overlap"),
        (0.2, "item, ahead of", "do not overlap"),
    ],
)
def test_the_headline_says_where_the_run_stands(make_result: Any, ndcg: float, place: str, certainty: str) -> None:
    verdict = give_verdict([RunSummary.build(make_result(ndcg=ndcg))])
    assert f"{place} the best baseline, Zero-shot + popularity, at .071 [.064, .078]." in verdict.headline
    assert certainty in verdict.certainty


def test_without_resampling_nothing_is_said_about_certainty(make_result: Any) -> None:
    result = make_result()
    result["test"]["ndcg@10"] = {"value": 0.07, "low": 0.07, "high": 0.07}
    verdict = give_verdict([RunSummary.build(result)])
    assert verdict.certainty == ""
    assert "NDCG@10 .070 on" in verdict.headline


def test_what_was_done_leaves_out_what_is_unknown(private_run: RunSummary) -> None:
    assert what_was_done(private_run) == (
        "Federated training of 24,576 shared parameters in 10 rounds, with 943 clients, 943 people and 1,682 items."
    )
    assert what_was_done(RunSummary.build({"privacy": {"mode": "none"}})) == "Federated training."


def test_a_report_says_on_how_many_people_its_figures_are() -> None:
    run = RunSummary.build({"privacy": {"mode": "none"}, "users": 1_000_000, "people_scored": {"validation": 4000}})
    assert what_was_done(run) == "Federated training, with 1,000,000 people. Its figures are of 4,000 people."


def test_figures_have_the_same_digits_everywhere() -> None:
    assert str(Interval(0.0651, 0.058, 0.0729)) == ".065 [.058, .073]"
    assert str(Interval(1.0, 1.0, 1.0)) == "1.000"
    assert share(-0.25) == "-.250"
    assert (epsilon_text(7.958), epsilon_text(None)) == ("7.96", "–")
    assert (delta_text(1e-10), delta_text(0.00025), delta_text(None)) == ("1e-10", "2.5e-4", "–")
    assert (bytes_text(1_230_000), bytes_text(98_304), bytes_text(None)) == ("1.2 MB", "98 kB", "–")
    assert seconds_text(59.96) == "60.0 s"


def test_the_terminals_table_shows_interval_epsilon_unit_and_warning(
    private_run: RunSummary, plain_run: RunSummary, seeded_run: RunSummary
) -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(summary_table([plain_run, private_run, seeded_run]))
    text = console.export_text()
    assert "test item" in text
    assert ".074 [.067, .082]" in text
    assert "7.96 per USER" in text
    assert "2.99 per USER (no guarantee)" in text
    assert "NOT PRIVATE" in text


def test_a_name_in_square_brackets_is_not_markup(make_result: Any) -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(summary_table([RunSummary.build(make_result("[red]run[/red]"))]))
    assert "[red]run[/red]" in console.export_text()
