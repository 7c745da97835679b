"""Ten thousand random events of every kind, of sense and of none: the agent answers, and goes on recommending."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fedrec.data.events import TEXT_KINDS, Kind
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.feedback import Action
from fedrec.web.limits import Limits
from tests.agent.conftest import Agent, Caller, an_agent

EVENTS = 10_000
BATCH = 100
WORDS = st.text(min_size=1, max_size=40)
ITEMS = st.integers(0, 70).map("i{}".format) | WORDS
TIMES = st.integers(0, 253_402_300_799) | st.integers(1_600_000_000, 1_800_000_000) | st.none()
VALUES = st.none() | st.floats(-1e6, 1e6)


@st.composite
def sane(draw: st.DrawFn) -> dict[str, Any]:
    """An event that the agent has to take, however odd."""
    kind = draw(st.sampled_from(list(Kind)))
    event: dict[str, Any] = {"kind": kind, "timestamp": draw(TIMES), "context": draw(st.none() | WORDS)}
    if kind in TEXT_KINDS:
        return event | {"text": draw(WORDS), "item_id": draw(st.none() | ITEMS)}
    return event | {"item_id": draw(ITEMS), "value": draw(VALUES)}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
FIELDS = ("kind", "item_id", "timestamp", "value", "text", "context")
NONSENSE = st.fixed_dictionaries(
    {"kind": st.sampled_from(list(Kind)) | ANYTHING}, optional=dict.fromkeys(FIELDS[1:], ANYTHING)
)


def assert_recommends(product: Caller) -> None:
    """The list is whole: different items, finite scores, parts that add up."""
    answer = product.get("/v1/recommendations", params={"k": 20})
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert len({item["item_id"] for item in items}) == len(items)
    assert all(math.isfinite(item["score"]) for item in items)
    for item in items[:2]:
        why = product.get(f"/v1/explanations/{item['item_id']}").json()
        total = math.fsum(part["contribution"] for part in why["parts"])
        assert total == pytest.approx(why["score"], rel=1e-5, abs=1e-5)


@pytest.fixture
def unlimited(engine: Engine) -> Agent:
    return an_agent(engine, limits=Limits(rate=1e6, burst=10**6))


@pytest.mark.slow
def test_ten_thousand_random_events_never_break_the_agent(unlimited: Agent) -> None:
    product, sent, refused = unlimited.product(), 0, 0

    @settings(
        max_examples=EVENTS // BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        events=st.lists(sane(), min_size=BATCH, max_size=BATCH),
        odd=st.lists(NONSENSE, min_size=3, max_size=3),
        said=st.tuples(st.sampled_from(list(Action)), ITEMS, VALUES),
    )
    def live(events: list[dict[str, Any]], odd: list[dict[str, Any]], said: tuple[str, str, float | None]) -> None:
        nonlocal sent, refused
        answer = product.post("/v1/events", json={"events": events})
        assert answer.status_code == 201, answer.text
        sent += len(answer.json()["ids"])
        for event in odd:
            # As a careless program would write it: NaN, Infinity and half characters included.
            content = json.dumps({"events": [event]}).encode()
            answer = product.post("/v1/events", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code in (201, 400, 422), answer.text
            refused += answer.status_code != 201
        action, item_id, value = said
        given = {"action": action, "item_id": item_id, "value": value}
        assert product.post("/v1/feedback", json=given).status_code in (201, 404, 422)
        assert product.get("/v1/profile").status_code == 200
        assert_recommends(product)

    live()
    assert sent >= EVENTS
    assert refused > EVENTS / BATCH
    assert product.get("/v1/context").json()["events"] >= EVENTS
    assert product.post("/v1/erase", json={"confirm": "erase"}).status_code == 200
    assert_recommends(product)
