"""The agent keeps what its OpenAPI document promises: schemathesis asks it everything that the document allows."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fedrec.data.events import Kind
from fedrec.ondevice.feedback import Action
from tests.agent.conftest import HOME, Agent, Caller

REFUSALS = {"401", "403", "413", "422", "429"}


def test_every_address_names_its_refusals_and_says_what_it_does(product: Caller) -> None:
    document = product.get("/openapi.json").json()
    routes = [(path, route) for path, methods in document["paths"].items() for route in methods.values()]
    assert len(routes) > 20
    for path, route in routes:
        assert route["responses"].keys() >= REFUSALS, path
        assert route["description"], path
        assert all("application/json" in answer["content"] for answer in route["responses"].values()), path


def test_every_address_but_the_door_and_the_proof_asks_for_the_token(agent: Agent) -> None:
    document = agent.product().get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            answer = agent.caller().request(method.upper(), path.format(item_id="i1", cluster_id=1))
            assert (answer.status_code == 401) is ("security" in route) is (path not in ("/session", "/hello")), path


def test_every_kind_of_event_and_of_feedback_can_be_asked_for(product: Caller) -> None:
    schemas = product.get("/openapi.json").json()["components"]["schemas"]
    kinds = [*schemas["ItemEvent"]["properties"]["kind"]["enum"], *schemas["TextEvent"]["properties"]["kind"]["enum"]]
    assert sorted(kinds) == sorted(Kind)
    assert sorted([*schemas["Opinion"]["properties"]["action"]["enum"], "rate"]) == sorted(Action)


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """The document, for a caller who always has the token: else requests without one are counted as broken."""
    del document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for route in methods.values():
            route.pop("security", None)
    return document


@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_breaks_the_agent(reading: Agent) -> None:
    import schemathesis
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    token = {"Authorization": f"Bearer {reading.token}"}
    document = schemathesis.openapi.from_dict(without_security(reading.product().get("/openapi.json").json()))
    document.app = reading.app
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
            # A request that breaks one form of an event may be a sound one of the other form: not told apart there.
            # A long ticket passes the door's few bytes: 413 says no as well, but is not counted as a no.
            unclear = ("/v1/events", "/v1/feedback", "/session")
            left_out = [negative_data_rejection] if case.path in unclear else []
            # No pattern of JSON Schema says "can be printed", which the name of an interest has to be.
            left_out += [positive_data_acceptance] if "/clusters/" in case.path else []
            case.call_and_validate(base_url=HOME, headers=token, excluded_checks=left_out)

        ask()
    assert len(asked) > 20
