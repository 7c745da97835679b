"""The console keeps what its OpenAPI document promises: schemathesis asks it everything that the document allows."""

from typing import Any

import pytest

from fedrec.console.tickets import operator_token
from tests.console.conftest import HOME, Operated
from tests.console.worlds import busy

REFUSALS = {"401", "403", "413", "422", "429"}
OPEN = ("/console/session", "/console/hello")
# An answer that does not end, and one that is no JSON.
STREAM, METRICS = "/console/v1/live", "/metrics"


def document_of(console: Operated) -> dict[str, Any]:
    found: dict[str, Any] = console.script().get("/console/openapi.json").json()
    return found


def test_every_address_names_its_refusals_and_says_what_it_does(console: Operated) -> None:
    routes = [(path, route) for path, methods in document_of(console)["paths"].items() for route in methods.values()]
    assert len(routes) > 10
    for path, route in routes:
        assert route["responses"].keys() >= REFUSALS, path
        assert route["description"], path


def test_every_address_but_the_door_asks_for_a_token_or_a_session(console: Operated) -> None:
    far = console.caller()
    far.peer = "10.0.0.7"
    for path, methods in document_of(console)["paths"].items():
        for method in methods:
            answer = far.request(method.upper(), path.format(name="films"))
            assert (answer.status_code == 401) is (path not in OPEN), path


@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_breaks_the_console(console: Operated) -> None:
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    from tests.web.probing import Probe

    def left_out(path: str) -> list[Any]:
        # No JSON Schema says "one of two", "the name once more", "what is in use", or "without blank ends".
        # A long secret passes the door's few bytes: 413 says no as well, but is not counted as a no.
        return [positive_data_acceptance, *([negative_data_rejection] if path in OPEN else [])]

    busy(console.shop())
    document = document_of(console)
    del document["paths"][STREAM], document["paths"][METRICS]
    token = operator_token(console.folder)
    probe = Probe(app=console.app, home=HOME, token=token, examples=40, left_out=left_out)
    assert len(probe.ask_everything(document)) >= 10
