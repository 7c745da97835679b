"""The run report: one file, no network, the verdict and its warnings first."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fedrec.errors import DataError
from fedrec.reporting.run_report import run_report, write_run_report
from fedrec.reporting.summary import RunSummary

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "br", "hr", "img", "input"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background", "formaction"}
HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """Checks nesting while it reads, and keeps tags, attributes, visible text and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[-1] += data
        elif "style" not in self.open and "title" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_nests_loads_nothing_and_runs_no_script(private_run: RunSummary, plain_run: RunSummary) -> None:
    text = run_report([private_run, plain_run], title="Two runs")
    page = Page(text)
    assert [attributes["type"] for attributes in page.named("script")] == ["application/json"]
    assert not page.named("link") and not page.named("img") and not page.named("iframe")
    for _, attributes in page.tags:
        assert not LOADING & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in text and "@import" not in text
    # What is left of the web are the names of the SVG's vocabulary.
    assert set(re.findall(r"https?://[^\"' <]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_embedded_json_equals_what_went_in(private_run: RunSummary, plain_run: RunSummary) -> None:
    page = Page(run_report([private_run, plain_run], title="Two runs"))
    runs = [private_run, plain_run]
    assert json.loads(page.scripts[0]) == [{"result": run.result, "rounds": list(run.rounds)} for run in runs]


def test_hostile_texts_stay_texts(make_result: Callable[..., dict[str, Any]], make_privacy: Any) -> None:
    keys = ("name", "scenario", "command", "ledger_head", "positives", "config")
    hostile = make_result(**dict.fromkeys(keys, HOSTILE), versions={HOSTILE: HOSTILE}, groups={HOSTILE: {"users": 1}})
    hostile["baselines"][HOSTILE] = hostile["baselines"]["ease"]
    hostile["privacy"] = make_privacy(sampling=HOSTILE, covers=[HOSTILE], does_not_cover=[HOSTILE])
    line = {"round": 1, "failures": {HOSTILE: 1}, "validation": hostile["validation"], "epsilon": 1.0}
    page = Page(run_report([RunSummary.build(hostile, [line])], title=HOSTILE))
    assert len(page.named("script")) == 1 and not page.named("img")
    assert page.text.count(HOSTILE) > 10
    assert json.loads(page.scripts[0])[0]["result"] == hostile


def test_a_guaranteed_run_carries_no_warning(private_run: RunSummary) -> None:
    text = Page(run_report([private_run], title="Private")).text
    assert "NOT PRIVATE" not in text
    assert "NOT A DP GUARANTEE" not in text


def test_a_run_without_noise_says_not_private(plain_run: RunSummary) -> None:
    text = Page(run_report([plain_run], title="Plain")).text
    assert "NOT PRIVATE" in text
    assert "NOT A DP GUARANTEE" not in text
    assert "Covered" not in text


def test_a_seeded_run_says_that_it_is_no_guarantee(seeded_run: RunSummary) -> None:
    text = Page(run_report([seeded_run], title="Seeded")).text
    assert "NOT A DP GUARANTEE" in text
    assert "NOT PRIVATE" not in text
    assert "Epsilon of the plan, not a guarantee" in text


def test_a_run_that_does_not_claim_a_guarantee_has_none(make_result: Any, make_privacy: Any) -> None:
    silent = make_privacy()
    del silent["guarantee"]
    run = RunSummary.build(make_result(privacy=silent))
    assert "NOT A DP GUARANTEE" in Page(run_report([run], title="Silent")).text


def test_several_runs_name_the_ones_that_a_warning_is_about(
    private_run: RunSummary, plain_run: RunSummary, seeded_run: RunSummary
) -> None:
    text = " ".join(Page(run_report([plain_run, private_run, seeded_run], title="Three")).text.split())
    assert "NOT PRIVATE “plain”:" in text
    assert "NOT A DP GUARANTEE “central-seeded”:" in text


def test_epsilon_comes_with_all_that_it_rests_on(private_run: RunSummary) -> None:
    text = Page(run_report([private_run], title="Private")).text
    for words in (
        "7.96",
        "per USER, reasonable",
        "1e-6",
        "zero-out",
        "20.14",
        "PLD",
        "known participation",
        "2303.00654",
    ):
        assert words in text


def test_how_to_run_it_again_is_on_the_page(private_run: RunSummary) -> None:
    text = Page(run_report([private_run], title="Private")).text
    for words in (
        private_run.text("command"),
        private_run.text("ledger_head"),
        "lora_rank = 64",
        "2.13.0",
        "chose it",
        "4f7c2a90b1",
    ):
        assert words in text


def test_every_chart_is_described_and_has_its_table(private_run: RunSummary) -> None:
    text = run_report([private_run], title="Private")
    figures = re.findall(r"<figure>.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        page = Page(figure)
        assert page.named("svg")[0]["role"] == "img"
        assert len(page.named("svg")[0]["aria-label"] or "") > 40
        assert page.named("details") and page.named("table") and len(page.named("tr")) > 4


def test_epsilons_of_different_units_get_charts_of_their_own(
    private_run: RunSummary, make_result: Any, make_privacy: Any
) -> None:
    segments = make_result("segments", privacy=make_privacy("local", "SEGMENT"))
    run = RunSummary.build(segments, private_run.rounds)
    text = Page(run_report([private_run, run], title="Two units")).text
    assert "Epsilon per USER spent, by round" in text
    assert "Epsilon per SEGMENT spent, by round" in text


def test_absent_optional_keys_are_left_out() -> None:
    bare = {"run": "runs/bare", "validation": {"ndcg@10": {"value": 0.05}}, "privacy": {"mode": "none"}}
    text = Page(run_report([RunSummary.build(bare, [{"round": 1}])], title="Bare")).text
    assert "“bare” reaches NDCG@10 .050 on the validation item; no baseline was measured beside it." in text
    assert "None" not in text
    assert "Ledger head" not in text


def test_a_run_that_measured_nothing_still_has_a_page() -> None:
    text = Page(run_report([RunSummary.build({"privacy": {"mode": "none"}})], title="Empty")).text
    assert "nothing was measured" in text


def test_a_figure_that_is_not_finite_is_shown_as_absent(make_result: Any) -> None:
    broken = make_result()
    broken["validation"]["ndcg@10"] = {"value": float("nan"), "low": 0.0, "high": 1.0}
    broken["adapter_norm"] = float("inf")
    page = Page(run_report([RunSummary.build(broken)], title="Broken"))
    assert json.loads(page.scripts[0])[0]["result"]["adapter_norm"] is None
    assert "nan" not in page.text


def test_a_report_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one run"):
        write_run_report(tmp_path / "report.html", [], title="None")
    assert not list(tmp_path.iterdir())


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path, private_run: RunSummary) -> None:
    path = tmp_path / "runs" / "report.html"
    write_run_report(path, [private_run], title="First")
    write_run_report(path, [private_run], title="Second")
    assert "<title>Second</title>" in path.read_text(encoding="utf-8")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
