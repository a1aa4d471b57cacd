from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.agent.control_plane import AgentProcess, ControlPlane
from tests.steady_moto import steady_moto


@pytest.fixture
def heartbeat_s(request: pytest.FixtureRequest) -> int:
    """Longer than a loaded machine keeps anybody waiting; a test that waits for its end gives a shorter one."""
    return getattr(request, "param", 20)


@pytest.fixture
def plane(heartbeat_s: int) -> Generator[ControlPlane]:
    with steady_moto():
        server = ControlPlane(heartbeat_s=heartbeat_s)
        yield server
        server.close()


@pytest.fixture
def start_agent(plane: ControlPlane, tmp_path: Path) -> Generator[Callable[..., AgentProcess]]:
    started: list[AgentProcess] = []

    def start(name: str = "agent", **settings: str) -> AgentProcess:
        started.append(AgentProcess(plane, tmp_path, name, **settings))
        return started[-1]

    yield start
    for agent in started:
        agent.close()
        # Shown where the test failed.
        print(agent.name, agent.notes(), agent.log_text(), sep="\n")  # noqa: T201
