"""The whole service shows nothing of a small group: no answer, no event, no page, no metric depends on its size."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.console.conftest import Operated, a_console
from tests.console.worlds import Shop, a_service, opened

SMALLEST = 5
COHORT = 60
small = st.integers(1, SMALLEST - 1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """One service for all examples, each of which is a catalogue of its own."""
    folder = a_service(tmp_path_factory.mktemp("small") / "service")
    with opened(folder) as registry:
        yield a_console(folder, registry)


def another(service: Operated) -> Shop:
    """A catalogue that nobody has seen before."""
    return service.shop(f"shop-{len(service.folder.names())}-", cohort=COHORT)


def everything(service: Operated, name: str) -> list[str]:
    """All that an operator, or Prometheus, is ever told of a catalogue, without its name."""
    script = service.script()
    overview = script.get("/console/v1/overview").json()
    events = json.loads(service.app.state.console.live._told().split(b"data: ")[1])
    lines = [line for told in (overview, events) for line in told["catalogues"] if line["name"] == name]
    metrics = [line for line in script.get("/metrics").text.splitlines() if f'"{name}"' in line]
    found = [json.dumps(lines), script.get(f"/console/v1/catalogues/{name}").text, *metrics]
    assert len(found) > 10
    return [each.replace(name, "NAME") for each in found]


def a_world(shop: Shop, *, lost: Mapping[str, int], connected: int, replies: int, enrolled: int) -> None:
    shop.finish(1, replies=COHORT - sum(lost.values()), failures=lost)
    message = f"{connected} of {COHORT} devices are there, {replies} answers"
    shop.say("asking", connected=connected, replies=replies, message=message)
    shop.enrol(enrolled)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=st.lists(st.tuples(*[small] * 6), min_size=2, max_size=2))
def test_two_catalogues_that_differ_in_small_groups_only_look_the_same(
    service: Operated, sizes: list[tuple[int, ...]]
) -> None:
    seen = []
    for late, refused, odd, connected, replies, enrolled in sizes:
        shop = another(service)
        lost = {"timeout": late, "RefusedError": refused, "made up": odd, "BudgetError": 8}
        a_world(shop, lost=lost, connected=connected, replies=replies, enrolled=enrolled)
        seen.append(everything(service, shop.name))
    assert seen[0] == seen[1]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lost=st.dictionaries(st.sampled_from(["timeout", "over_norm", "RefusedError"]), st.integers(0, 19)),
    connected=st.integers(0, COHORT),
    replies=st.integers(0, COHORT),
    enrolled=st.integers(0, 80),
)
def test_no_count_between_nothing_and_the_smallest_group_is_anywhere(
    service: Operated, lost: dict[str, int], connected: int, replies: int, enrolled: int
) -> None:
    shop = another(service)
    a_world(shop, lost=lost, connected=connected, replies=replies, enrolled=enrolled)
    script = service.script()
    now = _line(script.get("/console/v1/overview").json(), shop.name)["now"]
    found = script.get(f"/console/v1/catalogues/{shop.name}").json()
    finished = found["rounds"][0]
    failures = finished["failures"] or []
    counts = [now["connected"], now["replies"], finished["asked"], finished["replies"], found["devices"]]
    for shown in [*counts, *(failed["devices"] for failed in failures)]:
        assert not 0 < (shown["value"] or 0) < SMALLEST
        assert not 0 < shown["at_least"] < SMALLEST
        assert not _small_numbers(shown["words"])
    assert not _small_numbers(now["title"].removeprefix("Round 1"))
    assert not _small_numbers(now["detail"])
    for name, value in _device_samples(script.get("/metrics").text):
        assert value == 0 or value >= SMALLEST, name


def _line(overview: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(line for line in overview["catalogues"] if line["name"] == name)
    return found


def _small_numbers(words: str) -> list[str]:
    """Numbers below the smallest group that stand for themselves, not as a bound."""
    return [number for number in re.findall(r"(?<![<\d,.])\d+", words) if 0 < int(number) < SMALLEST]


def _device_samples(text: str) -> list[tuple[str, float]]:
    """Metrics that count devices."""
    counted = ("fedrec_nodes_", "fedrec_round_replies", "fedrec_round_failures")
    lines: list[Any] = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(counted)]
    return [(name, float(value)) for name, value in lines]
