"""The agent keeps what its OpenAPI document promises: schemathesis asks it everything that the document allows."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fedrec.agent.limits import Limits
from fedrec.ondevice.engine import Engine
from tests.agent.conftest import HOME, Agent, Caller, an_agent

REFUSALS = {"401", "403", "413", "422", "429"}


def test_every_address_names_its_refusals_and_says_what_it_does(product: Caller) -> None:
    document = product.get("/openapi.json").json()
    routes = [(path, route) for path, methods in document["paths"].items() for route in methods.values()]
    assert len(routes) > 20
    for path, route in routes:
        assert route["responses"].keys() >= REFUSALS, path
        assert route["description"], path
        assert all("application/json" in answer["content"] for answer in route["responses"].values()), path


def test_every_address_but_the_door_asks_for_the_token(agent: Agent) -> None:
    document = agent.product().get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            answer = agent.caller().request(method.upper(), path.format(item_id="i1", cluster_id=1))
            assert (answer.status_code == 401) is ("security" in route) is (path != "/session"), path


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """The document, for a caller who always has the token: else requests without one are counted as broken."""
    del document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for route in methods.values():
            route.pop("security", None)
    return document


@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_breaks_the_agent(engine: Engine) -> None:
    import schemathesis

    agent = an_agent(engine, limits=Limits(rate=1e6, burst=10**6))
    token = {"Authorization": f"Bearer {agent.token}"}
    document = schemathesis.openapi.from_dict(without_security(agent.product().get("/openapi.json").json()))
    document.app = agent.app
    asked = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=60,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
        )
        def ask(case: schemathesis.Case) -> None:
            asked.add((case.method, case.path))
            case.call_and_validate(base_url=HOME, headers=token)

        ask()
    assert len(asked) > 20
