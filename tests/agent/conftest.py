"""An agent over a real device: its application, and callers of every sort."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from fedrec.agent.app import create_app
from fedrec.agent.tokens import agent_token
from fedrec.ondevice.engine import Engine
from fedrec.web.limits import Limits
from tests.agent.worlds import HOSTILE, a_private_release
from tests.ondevice.device_worlds import a_device, a_release, a_text_world, a_world
from tests.web.calling import Caller

PORT = 8799
HOME = f"http://127.0.0.1:{PORT}"


@dataclass
class Agent:
    """An application with its token and its engine."""

    app: FastAPI
    token: str
    engine: Engine

    def caller(self, **headers: str) -> Caller:
        """Somebody who sends these headers and no other."""
        return Caller(self.app, headers, home=HOME)

    def product(self) -> Caller:
        """A product with the device's token."""
        return self.caller(Authorization=f"Bearer {self.token}")


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release of 60 items, the first of which has a hostile title."""
    world = a_world(60)
    titles = [HOSTILE, *world.titles[1:]]
    return a_release(tmp_path_factory.mktemp("published"), replace(world, titles=titles))


@pytest.fixture
def engine(tmp_path: Path, release: Path) -> Iterator[Engine]:
    with Engine.open(a_device(tmp_path / "device", release), keys="file") as opened:
        yield opened


def an_agent(engine: Engine, *, limits: Limits | None = None) -> Agent:
    """The agent of an engine, as it would run on PORT."""
    token = agent_token(engine.device)
    return Agent(create_app(engine, token=token, port=PORT, limits=limits), token, engine)


@pytest.fixture
def agent(engine: Engine) -> Agent:
    return an_agent(engine)


@pytest.fixture
def product(agent: Agent) -> Caller:
    return agent.product()


@pytest.fixture(scope="session")
def private_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_private_release(tmp_path_factory.mktemp("published"))


@pytest.fixture
def private(tmp_path: Path, private_release: Path) -> Iterator[Agent]:
    """The agent of a device that could take part in private training."""
    with Engine.open(a_device(tmp_path / "private", private_release), keys="file") as opened:
        yield an_agent(opened)


@pytest.fixture(scope="session")
def reading_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release that understands words."""
    folder = tmp_path_factory.mktemp("published")
    return a_release(folder, a_text_world(folder / "encoder"))


@pytest.fixture
def reading(tmp_path: Path, reading_release: Path) -> Iterator[Agent]:
    """The agent of a device that understands words."""
    with Engine.open(a_device(tmp_path / "reading", reading_release), keys="file") as opened:
        yield an_agent(opened, limits=Limits(rate=1e6, burst=10**6))
