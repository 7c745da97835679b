"""Asking an application everything that its OpenAPI document allows, and what it forbids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings

REFUSALS = {"401", "403", "413", "422", "429"}
Check = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How a service is asked. left_out: the checks that a path cannot keep; examples: of each operation."""

    app: FastAPI
    home: str
    token: str
    examples: int
    left_out: Callable[[str], Sequence[Check]] = field(default=lambda _: ())

    def ask_everything(self, document: dict[str, Any]) -> set[tuple[str, str]]:
        """The (method, path) of everything that was asked; raises where an answer breaks the document's promise."""
        described = schemathesis.openapi.from_dict(without_security(document))
        described.app = self.app
        asked: set[tuple[str, str]] = set()
        for found in described.get_all_operations():
            self._ask(found.ok(), asked)
        return asked

    def _ask(self, operation: Any, asked: set[tuple[str, str]]) -> None:
        @settings(
            max_examples=self.examples,
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
            case.call_and_validate(
                base_url=self.home,
                headers={"Authorization": f"Bearer {self.token}"},
                excluded_checks=list(self.left_out(case.path)),
            )

        ask()


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """The document, for a caller who always has the token: else requests without one are counted as broken."""
    del document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for route in methods.values():
            route.pop("security", None)
    return document
