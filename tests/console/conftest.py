"""A console over a real service folder and registry, and callers of every sort."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from fedrec.console.app import Settings, create_console
from fedrec.console.tickets import new_ticket, operator_token
from fedrec.registry.registry import Registry
from fedrec.service.config import load_service
from fedrec.service.folder import ServiceFolder
from fedrec.web.access import SECRET_HEADER
from fedrec.web.limits import Limits
from tests.console.worlds import NOW, Shop, a_service, opened
from tests.web.calling import Caller

HOME = "http://127.0.0.1:9480"
OFTEN = Limits(body_bytes=1 << 14, rate=1e6, burst=10**6)


@dataclass
class Operated:
    """A console with its service."""

    app: FastAPI
    folder: ServiceFolder
    registry: Registry
    clock: list[float]

    def caller(self, **headers: str) -> Caller:
        """Somebody who sends these headers and no other."""
        return Caller(self.app, headers, home=HOME)

    def script(self) -> Caller:
        """Whoever holds the operator token."""
        return self.caller(Authorization=f"Bearer {operator_token(self.folder)}")

    def ticket(self) -> str:
        """A one-time ticket."""
        return new_ticket(operator_token(self.folder), now=self.clock[0])

    def page(self) -> Caller:
        """An operator's browser, signed in by a one-time link."""
        page = self.caller()
        entered: httpx.Response = page.post("/console/session", json={"ticket": self.ticket()})
        assert entered.status_code == 200, entered.text
        page.headers[SECRET_HEADER] = entered.json()["secret"]
        return page

    def shop(self, name: str = "films", *, cohort: int = 40) -> Shop:
        """Another catalogue."""
        return Shop(folder=self.folder, registry=self.registry, name=name, cohort=cohort).open()


def a_console(folder: ServiceFolder, registry: Registry, *, settings: Settings | None = None) -> Operated:
    """The console of a service, whose clock stands still."""
    clock = [float(NOW)]
    given = settings or Settings(limits=OFTEN, clock=lambda: clock[0])
    app = create_console(folder, config=load_service(folder), registry=registry, settings=given)
    return Operated(app, folder, registry, clock)


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return a_service(tmp_path / "service")


@pytest.fixture
def registry(folder: ServiceFolder) -> Iterator[Registry]:
    with opened(folder) as registry:
        yield registry


@pytest.fixture
def console(folder: ServiceFolder, registry: Registry) -> Operated:
    return a_console(folder, registry)
