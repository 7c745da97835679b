"""Metrics: Prometheus can read them, their totals never fall, and they hold what the rounds did."""

from prometheus_client.parser import text_string_to_metric_families

from fedrec.console.app import create_console
from fedrec.console.words import FAILURES
from fedrec.service.config import load_service
from tests.console.conftest import HOME, Operated, a_console
from tests.console.worlds import HOUR, NOW, busy
from tests.web.calling import Caller

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(console: Operated) -> Samples:
    answer = console.caller().get("/metrics")
    assert answer.status_code == 200, answer.text
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted({"catalogue": "films", **labels}.items()))))


def test_a_service_without_catalogues_has_metrics_without_samples(console: Operated) -> None:
    assert samples(console) == {}


def test_metrics_hold_what_the_rounds_did(console: Operated) -> None:
    busy(console.shop())
    found = samples(console)
    assert of(found, "fedrec_rounds_finished_total") == 8
    assert of(found, "fedrec_releases_total") == 3
    assert of(found, "fedrec_nodes_needed") == 40
    assert of(found, "fedrec_nodes_connected") == 27
    assert of(found, "fedrec_last_round_age_seconds") == HOUR
    assert of(found, "fedrec_phase", phase="waiting") == 1
    assert of(found, "fedrec_phase", phase="asking") == 0
    assert of(found, "fedrec_epsilon_budget") == 8
    assert 0 < (of(found, "fedrec_epsilon_spent") or 0) < 8
    assert (of(found, "fedrec_round_seconds_total", phase="waiting") or 0) > 100
    # 6 + 6 late, and 7 beside one over the bound; two late in two rounds are too few to count.
    assert of(found, "fedrec_round_failures_total", code="timeout") == 19
    assert of(found, "fedrec_round_failures_total", code="over_norm") == 0


def test_totals_go_on_with_each_round_and_count_none_twice(console: Operated) -> None:
    shop = console.shop()
    for number in range(1, 4):
        shop.finish(number, replies=40, at=NOW + number)
        found = samples(console)
        assert of(found, "fedrec_rounds_finished_total") == number
        assert of(found, "fedrec_round_replies_total") == 40 * number
    # A round that was told late, after a kill, is older than those that are counted.
    shop.finish(9, replies=40, at=NOW - HOUR)
    assert of(samples(console), "fedrec_rounds_finished_total") == 4


def test_a_restart_changes_no_total(console: Operated) -> None:
    busy(console.shop())
    again = a_console(console.folder, console.registry)
    assert samples(console) == samples(again)


def test_no_client_invents_a_label(console: Operated) -> None:
    console.shop().finish(1, replies=20, failures={"x" * 50: 6, 'a"b\n': 7, "timeout": 7})
    labels = {dict(labels).get("code") for _, labels in samples(console)} - {None}
    assert labels <= FAILURES.keys()
    assert of(samples(console), "fedrec_round_failures_total", code="other") == 13


def test_two_services_in_one_process_do_not_mix(console: Operated) -> None:
    console.shop()
    app = create_console(console.folder, config=load_service(console.folder), registry=console.registry)
    assert Caller(app, {}, home=HOME).get("/metrics").status_code == 200
    assert console.caller().get("/metrics").status_code == 200
