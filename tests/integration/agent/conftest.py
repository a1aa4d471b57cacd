from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.agent.control_plane import AgentProcess, ControlPlane


@pytest.fixture
def plane() -> Generator[ControlPlane]:
    server = ControlPlane(heartbeat_s=5)
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
