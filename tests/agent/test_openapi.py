"""The agent keeps what its OpenAPI document promises: schemathesis asks it everything that the document allows."""

from typing import Any

import pytest

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


@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_breaks_the_agent(reading: Agent) -> None:
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    from tests.web.probing import Probe

    def left_out(path: str) -> list[Any]:
        # A request that breaks one form of an event may be a sound one of the other form: not told apart there.
        # A long ticket passes the door's few bytes: 413 says no as well, but is not counted as a no.
        unclear = ("/v1/events", "/v1/feedback", "/session")
        # No pattern of JSON Schema says "can be printed", which the name of an interest has to be.
        named = [positive_data_acceptance] if "/clusters/" in path else []
        return [*([negative_data_rejection] if path in unclear else []), *named]

    document = reading.product().get("/openapi.json").json()
    probe = Probe(app=reading.app, home=HOME, token=reading.token, examples=60, left_out=left_out)
    assert len(probe.ask_everything(document)) > 20
